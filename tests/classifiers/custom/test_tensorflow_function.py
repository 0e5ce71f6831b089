import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers.custom.tensorflow_function import TensorFlowFunction
from tfdefense.training.mixed_precision import compute_in

IMAGES = np.random.default_rng(0).random((2, 4, 4, 1), np.float32)
CALLS = {
    "concat": lambda images, features: ([images, features], -1),
    "__operators__.add": lambda images, features: (images, features),
    "where": lambda images, features: (np.ones((4, 4, 1), bool), features, images),
}


@pytest.mark.parametrize("function", CALLS)
def test_images_and_features_of_a_training_in_bfloat16_have_one_type(function):
    images = keras.Input((4, 4, 1))
    features = keras.layers.Conv2D(1, 3, padding="same")(images)
    outputs = TensorFlowFunction(function)(*CALLS[function](images, features))
    model = keras.Model(images, outputs)
    expected = model(IMAGES)
    with compute_in([model], "bfloat16"):
        found = model(IMAGES)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_types_that_are_not_floating_point_stay():
    cast = TensorFlowFunction("cast")
    assert cast(tf.constant([1, 2]), "float16").dtype == tf.float16
    gather = TensorFlowFunction("gather")
    assert gather(tf.constant([1.0, 2.0]), tf.constant([1])).numpy() == [2.0]
