import numpy as np
import tensorflow as tf

from tfdefense.defenses.core.adversarial_pairs import draw_adversarial
from tfdefense.training import Replica


def test_each_image_draws_one_attack_and_each_step_anew():
    batch = {f"adversarial_{i}": tf.fill([60, 2, 2, 1], float(i)) for i in range(3)}

    def step(number):
        replica = Replica(0, tf.constant(number, tf.int64), 60)
        return draw_adversarial(batch, (0.1,), replica).numpy()

    first = step(0)
    assert first.shape == (60, 2, 2, 1)
    assert set(first[:, 0, 0, 0]) == {0.0, 1.0, 2.0}
    np.testing.assert_array_equal(first, step(0))
    assert np.any(first != step(1))
