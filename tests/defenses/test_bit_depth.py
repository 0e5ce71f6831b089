import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import BitDepth
from tfdefense.errors import UserError

IMAGES = np.random.default_rng(0).random((5, 7, 9, 3)).astype(np.float32)


def make(image_shape=(7, 9, 3), **hyperparameters):
    classifier = FrozenClassifier(lambda images: images[:, 0, 0, :], image_shape)
    return BitDepth(classifier, **hyperparameters)


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_values_are_rounded_to_the_nearest_level(bits):
    images = np.linspace(0, 1, 1001, dtype=np.float32).reshape(1, 7, 11, 13)[..., :1]
    purified = make((7, 11, 1), bits=bits).purify(images).numpy()
    levels = np.arange(2**bits) / (2**bits - 1)
    distance = np.abs(images[..., np.newaxis] - levels).min(-1)
    np.testing.assert_allclose(np.abs(purified - images), distance, atol=1e-6)
    assert set(np.round(purified.ravel() * (2**bits - 1), 4)) <= set(range(2**bits))


def test_its_gradient_is_the_identity():
    defense = make(bits=2)
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(defense.purify(images) * IMAGES)
    np.testing.assert_array_equal(tape.gradient(total, images), IMAGES)


def test_the_default_is_one_bit_for_grey_and_five_for_colour():
    assert make((12, 12, 1)).bits == 1
    assert make().bits == 5


def test_the_result_for_an_image_does_not_depend_on_its_batch():
    together = make().purify(IMAGES).numpy()
    for index in range(len(IMAGES)):
        alone = make().purify(IMAGES[index : index + 1]).numpy()
        np.testing.assert_array_equal(together[index : index + 1], alone)


@pytest.mark.parametrize("bits", [0, 9])
def test_an_error_names_the_bad_hyperparameter(bits):
    with pytest.raises(UserError, match=f"--bits={bits}: 1 to 8 is needed"):
        make(bits=bits)
