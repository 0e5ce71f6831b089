import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import FGSM, PGD
from tfdefense.classifiers import FrozenClassifier


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
