"""Each pixel held against learned thresholds, before a convolution mixes it with its neighbours."""

from typing import Any

import keras
import tensorflow as tf

# What an attack sees of a pixel below its threshold; its size made no difference from 0.02 to 0.5 (APGD-CE).
_SEEN_BELOW = 0.1


@tf.custom_gradient
def _relu(learned: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """relu of two tensors of equal values: its own gradient to the first, a leaky ReLU's to the second."""
    above = tf.cast(learned > 0, learned.dtype)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return upstream * above, upstream * tf.maximum(above, tf.cast(_SEEN_BELOW, above.dtype))

    return tf.nn.relu(learned), gradient


@keras.saving.register_keras_serializable("tfdefense")
class PixelThresholds(keras.layers.Layer):
    """float32 [N, H, W, C] in [0, 1] -> [N, H, W, C * count]: relu(slope * (pixel - threshold)), both learned.

    No change of less than half carries a black pixel past the middle. A convolution, which sums over neighbours that were all
    changed alike, has to find that out first; here it is where learning begins. Thresholds are spread evenly from 0 on.

    A pixel that is below every threshold has no gradient, and an attack that has pushed it there would never learn that the
    other way was better: it would report a hidden gradient as robustness. Towards the images, and only there, the gradient is
    therefore that of a leaky ReLU (backward pass differentiable approximation, Athalye et al., ICML 2018, section 4.1).

    Args:
      count: thresholds of each channel.
      slope: that they begin with.
    """

    def __init__(self, count: int = 6, slope: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count
        self.slope = slope

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (input_shape[-1], self.count)
        spread = [[index / self.count for index in range(self.count)]] * shape[0]
        self.thresholds = self.add_weight(
            shape=shape,
            initializer=lambda shape, dtype: tf.constant(spread, dtype),
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

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], input_shape[-1] * self.count)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count, "slope": self.slope}
