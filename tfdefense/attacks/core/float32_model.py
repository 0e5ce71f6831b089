"""Models that return float32 logits, and compute in float32 where that is possible."""

import keras
import tensorflow as tf

from tfdefense.attacks.core.expectation import Expectation
from tfdefense.attacks.core.model import Model
from tfdefense.networks.upcast import cast_to_float32
from tfdefense.training.mixed_precision import compute_in_float32, has_mixed_layers


class Float32Model:
    """Model whose logits are converted to float32; layers of mixed precision compute in float32.

    Args:
      model: a Keras model, or a function from images to logits of any floating-point dtype.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K] of images float32 [N, H, W, C]."""
        if not isinstance(self.model, keras.Model):
            return cast_to_float32(self.model(images))
        with compute_in_float32(self.model):
            return cast_to_float32(self.model(images))


def with_float32_logits(model: Model, dtype: str) -> Model:
    """Return `model`, or a `Float32Model` of it if it is not computed in float32.

    Args:
      model: the model.
      dtype: the dtype of its logits.
    """
    if isinstance(model, Expectation) or (dtype == "float32" and not has_mixed_layers(model)):
        return model
    return Float32Model(model)
