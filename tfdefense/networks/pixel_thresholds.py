"""A layer that compares each pixel with learned thresholds, before any convolution mixes pixels."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.padding import BatchShape

# Slope below a threshold in the gradient with respect to the images. From 0.02 to 0.5 the value
# makes no difference to APGD-CE.
_SLOPE_BELOW = 0.1


@tf.custom_gradient
def _relu(
    learned: tf.Tensor, seen: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Return the ReLU of two equal tensors.

    `learned` gets the gradient of a ReLU, and `seen` that of a leaky ReLU.
    """
    above = tf.cast(learned > 0, learned.dtype)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return upstream * above, upstream * tf.maximum(above, tf.cast(_SLOPE_BELOW, above.dtype))

    return tf.nn.relu(learned), gradient


@keras.saving.register_keras_serializable("tfdefense")
class PixelThresholds(keras.layers.Layer):
    """Layer that compares pixels with learned thresholds: relu(slope * (pixel - threshold)).

    A change of less than 0.5 cannot move a black pixel above the middle of the range. A
    convolution sums over neighbours, which an attack changes all alike, so a network without this
    layer must first learn to look at single pixels. The initial thresholds are evenly spaced from
    0.

    The gradient with respect to the images, and only this one, is that of a leaky ReLU (backward
    pass differentiable approximation, Athalye et al., ICML 2018, section 4.1). The true gradient
    is zero for a pixel below every threshold. An attack could not move such a pixel back, and the
    evaluation would report a hidden gradient as robustness.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C * count], 0 or more.

    Args:
      count: the number of thresholds per channel.
      slope: the initial slope.
    """

    def __init__(self, count: int = 6, slope: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count
        self.slope = slope

    def build(self, input_shape: BatchShape) -> None:
        shape = (input_shape[-1], self.count)
        spaced = [[index / self.count for index in range(self.count)]] * input_shape[-1]
        self.thresholds = self.add_weight(
            shape=shape,
            initializer=lambda shape, dtype: tf.constant(spaced, dtype),
            name="thresholds",
        )
        slopes = keras.initializers.Constant(self.slope)
        self.slopes = self.add_weight(shape=shape, initializer=slopes, name="slopes")
        self.built = True

    def call(self, images: tf.Tensor) -> tf.Tensor:
        height, width, channels = images.shape[1:]
        pixels = images[..., tf.newaxis]
        learned = self.slopes * (tf.stop_gradient(pixels) - self.thresholds)
        seen = tf.stop_gradient(self.slopes) * (pixels - tf.stop_gradient(self.thresholds))
        above = _relu(learned, seen)
        return tf.reshape(above, [-1, height, width, channels * self.count])

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, height, width, channels = input_shape
        return batch, height, width, channels * self.count

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count, "slope": self.slope}
