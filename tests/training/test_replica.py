import numpy as np
import tensorflow as tf

from tfdefense.training import Replica


def draw(step, seed=0):
    replica = Replica(seed, tf.constant(step, tf.int64), global_batch=6)
    return replica.uniform().numpy(), replica.uniform().numpy()


def test_draws_follow_from_seed_and_step_and_differ_from_each_other():
    (first, second), (again, _) = draw(3), draw(3)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, second)
    assert not np.allclose(first, draw(4)[0])
    assert not np.allclose(first, draw(3, seed=1)[0])


def test_replicas_together_draw_what_one_draws(two_replicas):
    def numbers():
        return Replica(5, tf.constant(2, tf.int64), global_batch=6).uniform()

    run = tf.function(lambda: two_replicas.run(numbers))
    parts = two_replicas.experimental_local_results(run())
    np.testing.assert_array_equal(np.concatenate(parts), numbers())


def test_choice_takes_all_values_about_equally_often():
    replica = Replica(0, tf.constant(0, tf.int64), global_batch=4_000)
    values, counts = np.unique(replica.choice((0.1, 0.3, 0.5, 0.7)), return_counts=True)
    np.testing.assert_allclose(values, [0.1, 0.3, 0.5, 0.7])
    assert np.all(np.abs(counts - 1_000) < 150)
