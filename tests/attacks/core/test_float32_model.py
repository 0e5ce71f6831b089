import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import FGSM, PGD, Expectation
from tfdefense.attacks.core.counted_model import CountedModel
from tfdefense.classifiers import FrozenClassifier
from tfdefense.networks.losses import cross_entropy


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_callables_of_any_floating_dtype_are_attacked(dtype, toy_model, toy_split):
    def model(images):
        return tf.cast(toy_model(images), dtype)

    result = PGD(epsilon=0.1, steps=3).run(model, toy_split.images, toy_split.labels)
    assert result.images.dtype == tf.float32
    assert np.max(result.linf) > 0
    assert FGSM(epsilon=0.1)(model, toy_split.images, toy_split.labels).dtype == tf.float32
    classifier = FrozenClassifier(model, toy_split.image_shape)
    assert classifier(toy_split.images).dtype == tf.float32


@pytest.mark.parametrize("last", ["float32", "mixed_float16"])
def test_keras_models_of_mixed_precision_are_attacked_in_float32(last):
    layers = keras.layers
    hidden = layers.Dense(4, kernel_initializer="ones", dtype="mixed_float16")
    kernel = keras.initializers.Constant(np.outer(np.ones(4), [-5.0, 5.0]))
    output = layers.Dense(2, kernel_initializer=kernel, dtype=last)
    model = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(), hidden, output])
    images = np.full((1, 2, 2, 1), 0.5, np.float32)  # Logits -40 and 40.
    for attacked in (model, Expectation(model, 2)):
        changed = FGSM(epsilon=0.1)(attacked, images, np.array([1])).numpy()
        np.testing.assert_allclose(changed, images - 0.1, atol=1e-6)
    with tf.GradientTape() as tape:  # As foreign attacks see it.
        tape.watch(tensor := tf.constant(images))
        loss = cross_entropy(tf.constant([1]), CountedModel(model, (2, 2, 1))(tensor))
    assert np.all(tape.gradient(loss, tensor).numpy() != 0)
    assert hidden.dtype_policy.name == "mixed_float16"
