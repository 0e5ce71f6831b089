import numpy as np
import tensorflow as tf

from tfdefense.training import Replica


def draw(step, seed=0):
    replica = Replica(seed, tf.constant(step, tf.int64), global_batch=6)
    return replica.uniform().numpy(), replica.uniform().numpy()


def test_draws_are_a_function_of_seed_and_step_and_all_differ():
    (first, second), (again, _) = draw(3), draw(3)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, second)
    assert not np.allclose(first, draw(4)[0])
    assert not np.allclose(first, draw(3, seed=1)[0])


def test_two_replicas_together_draw_the_numbers_of_one(two_replicas):
    def numbers():
        return Replica(5, tf.constant(2, tf.int64), global_batch=6).uniform()

    run = tf.function(lambda: two_replicas.run(numbers))
    parts = two_replicas.experimental_local_results(run())
    np.testing.assert_array_equal(np.concatenate(parts), numbers())


def test_choice_draws_all_values_about_equally_often():
    replica = Replica(0, tf.constant(0, tf.int64), global_batch=4_000)
    values, counts = np.unique(replica.choice((0.1, 0.3, 0.5, 0.7)), return_counts=True)
    np.testing.assert_allclose(values, [0.1, 0.3, 0.5, 0.7])
    assert np.all(np.abs(counts - 1_000) < 150)


def test_two_replicas_together_choose_by_weight_as_one_does(two_replicas):
    def chosen():
        return Replica(5, tf.constant(2, tf.int64), 400).choice((0.0, 1.0), (3.0, 1.0))

    run = tf.function(lambda: two_replicas.run(chosen))
    parts = np.concatenate(two_replicas.experimental_local_results(run()))
    np.testing.assert_array_equal(parts, chosen())
    assert abs(parts.sum() - 100) < 30


def test_two_replicas_clip_as_one_does(two_replicas):
    """The norm is that of the full gradient, not of one replica's share."""
    gradient = tf.constant([[3.0, 4.0], [0.0, 0.0]])

    def share(context):
        replica = Replica(0, tf.constant(0, tf.int64), 2)
        return replica.clip([gradient[context.replica_id_in_sync_group]], 1.0)

    shares = two_replicas.run(lambda: share(tf.distribute.get_replica_context()))
    summed = two_replicas.reduce("sum", shares[0], axis=None)
    np.testing.assert_allclose(summed, [0.6, 0.8], rtol=1e-6)
    alone = Replica(0, tf.constant(0, tf.int64), 2)
    np.testing.assert_allclose(alone.clip([gradient[0]], 1.0)[0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(alone.clip([gradient[0]], 9.0)[0], [3.0, 4.0])
    np.testing.assert_allclose(alone.clip([gradient[0]], 0.0)[0], [3.0, 4.0])
