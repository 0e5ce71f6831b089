import numpy as np
import tensorflow as tf

from tfdefense.attacks import FGSM
from tfdefense.attacks.core.shards import ShardMaker
from tfdefense.data import Split


def test_each_success_is_that_of_its_own_image():
    """The model turns at 100.2 of 255: above the first image and its rounded adversarial image."""

    def model(images):
        distance = tf.reduce_mean(images, axis=[1, 2, 3]) - 100.2 / 255
        return tf.stack([tf.zeros_like(distance), distance], axis=-1)

    levels = np.array([100, 101], np.float32).reshape(2, 1, 1, 1)
    images = np.tile(levels / 255, (1, 2, 2, 1))
    split = Split(images, np.zeros(2, np.int32), num_classes=2)
    shard = ShardMaker(model, FGSM(epsilon=0.4 / 255), (2, 2, 1)).make(split)
    np.testing.assert_allclose(shard.adversarial, images + 0.4 / 255, atol=1e-6)
    assert shard.success.tolist() == [True, True]
    assert shard.success_8bit.tolist() == [False, True]
    assert shard.clean_success.tolist() == [False, True]
