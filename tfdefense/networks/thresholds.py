"""Each pixel held against learned thresholds, before a convolution mixes it with its neighbours."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfdefense")
class PixelThresholds(keras.layers.Layer):
    """float32 [N, H, W, C] in [0, 1] -> [N, H, W, C * count]: relu(slope * (pixel - threshold)), both learned.

    No change of less than half carries a black pixel past the middle. A convolution, which sums over neighbours that were all
    changed alike, has to find that out first; here it is where learning begins. Thresholds are spread evenly from 0 on.

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
        above = tf.nn.relu(self.slopes * (images[..., tf.newaxis] - self.thresholds))
        return tf.reshape(above, [-1, height, width, channels * self.count])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], input_shape[-1] * self.count)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count, "slope": self.slope}
