"""Conversion of a model's logits to float32, in which attacks compute."""

import tensorflow as tf

from tfdefense.attacks.core.expectation import Expectation
from tfdefense.attacks.core.model import Model
from tfdefense.networks.upcast import cast_to_float32


class Float32Model:
    """Model whose logits are converted to float32.

    Args:
      model: function from images to logits of another floating-point dtype.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K] of images float32 [N, H, W, C]."""
        return cast_to_float32(self.model(images))


def with_float32_logits(model: Model, dtype: str) -> Model:
    """Return `model`, or a `Float32Model` of it if its logits have another dtype than float32."""
    if dtype == "float32" or isinstance(model, Expectation):
        return model
    return Float32Model(model)
