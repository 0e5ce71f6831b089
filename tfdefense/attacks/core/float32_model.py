"""Models that return float32 logits, and compute in float32 where that is possible."""

import contextlib

import keras
import tensorflow as tf

from tfdefense.attacks.core.expectation import Expectation
from tfdefense.attacks.core.model import Model
from tfdefense.classifiers.core.float32_inference import compute_in_float32, is_mixed
from tfdefense.networks.upcast import cast_to_float32


class Float32Model:
    """Model whose logits are converted to float32; layers of mixed precision compute in float32.

    Args:
      model: a Keras model, or a function from images to logits of any floating-point dtype.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K] of images float32 [N, H, W, C]."""
        is_keras = isinstance(self.model, keras.Model)
        with compute_in_float32(self.model) if is_keras else contextlib.nullcontext():
            return cast_to_float32(self.model(images))


def in_float32(model: Model, dtype: str = "float32") -> Model:
    """Return `model`, or a `Float32Model` of it if it does not compute in float32.

    Args:
      model: the model.
      dtype: the dtype of its logits.
    """
    if isinstance(model, Expectation):
        drawn = in_float32(model.model, dtype)
        return model if drawn is model.model else Expectation(drawn, model.draws)
    return model if dtype == "float32" and not is_mixed(model) else Float32Model(model)
