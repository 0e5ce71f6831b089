import random

import numpy as np
import tensorflow as tf

from tfdefense.training.seeding import seed_layers


def test_seeded_layers_are_repeatable_and_leave_the_callers_random_state_unchanged():
    def kernel(seed):
        with seed_layers(seed):
            layer = tf.keras.layers.Dense(3)
            layer.build((None, 4))
        return layer.kernel.numpy()

    random.seed(7)
    expected = random.random()
    random.seed(7)
    first, second = kernel(0), kernel(0)
    assert random.random() == expected
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, kernel(1))
