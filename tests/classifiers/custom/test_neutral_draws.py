"""SavedModels that augment images at random: the means of their random numbers must change nothing."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers.custom.saved_model_layer import freeze_saved_model
from tfdefense.errors import UserError

SHAPE = (6, 6, 3)
IMAGES = np.random.default_rng(1).random((5, *SHAPE)).astype(np.float32)
WEIGHTS = np.random.default_rng(2).normal(size=(108, 3)).astype(np.float32)


def uniform(images, low, high):
    """Return a random number for each image, [N, 1, 1, 1]."""
    return tf.random.uniform(tf.concat([tf.shape(images)[:1], [1, 1, 1]], 0), low, high)


def shifted(low, high):
    return lambda images: images + uniform(images, low, high)


def grey(rate):
    def convert(images):
        mean = tf.reduce_mean(images, axis=-1, keepdims=True) * tf.ones_like(images)
        return tf.where(uniform(images, 0, 1) < rate, mean, images)

    return convert


def shifted_one_by_one(low, high):
    return lambda images: tf.map_fn(
        lambda image: image + tf.random.uniform([], low, high), images, parallel_iterations=1
    )


def rolled(images):
    return tf.roll(images, tf.random.uniform([], 1, 5, tf.int32), axis=1)


def load(path, *steps):
    """Save a SavedModel that augments images in steps, multiplied by 2 in between, and load it."""

    def serve(images):
        for step in steps:
            images = 2.0 * step(images)
        return tf.reshape(images, [-1, 108]) @ WEIGHTS

    module = tf.Module()
    spec = tf.TensorSpec([None, *SHAPE], tf.float32)
    module.call = tf.function(serve, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, path, {"serving_default": module.call})
    return freeze_saved_model(path)[0]


@pytest.mark.parametrize(
    "steps",
    [
        [shifted(-0.2, 0.2), grey(0.3), shifted(-0.1, 0.1)],
        [shifted_one_by_one(-0.2, 0.2)],
    ],
)
def test_neutral_means_are_accepted_at_any_depth(steps, tmp_path, capsys):
    network = load(tmp_path, *steps)
    expected = 2.0 ** len(steps) * IMAGES.reshape(5, 108) @ WEIGHTS
    np.testing.assert_allclose(network.layer(IMAGES), expected, rtol=1e-4, atol=1e-4)
    assert "Random numbers are replaced by their means" in capsys.readouterr().out


@pytest.mark.parametrize(
    "step", [shifted(0.0, 0.5), grey(0.9), shifted_one_by_one(0.0, 0.5), rolled]
)
@pytest.mark.parametrize("first", [[], [shifted(-0.2, 0.2)]])
def test_means_that_change_images_are_an_error(step, first, tmp_path, capsys):
    with pytest.raises(UserError, match=r"means of its random numbers change.*\.keras file"):
        load(tmp_path, *first, step)
    assert "replaced by their means" not in capsys.readouterr().out
