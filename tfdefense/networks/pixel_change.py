"""A generator that says how to change an image, not what the image is."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfdefense")
class PixelChange(keras.layers.Layer):
    """Images float32 [N, H, W, C] in [0, 1], and a network's output of that shape and range -> images in [0, 1].

    An output above a half moves its pixel towards white, below towards black, by the share `tanh(gain) |2 output - 1|` of the way
    there; a half leaves it. So nothing leaves [0, 1] and nothing is cut off, where gradients would end. `gain` is learned, one a
    channel; a small one to begin with makes an untrained network nearly the identity (ReZero, Bachlechner et al. 2021).

    Args:
      gain: to begin with.
    """

    def __init__(self, gain: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gain = gain

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        self.gains = self.add_weight(
            shape=(input_shape[0][-1],),
            initializer=keras.initializers.Constant(self.gain),
            name="gains",
        )
        self.built = True

    def call(self, images_and_output: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        images, output = images_and_output
        share = tf.tanh(self.gains) * (2 * output - 1)
        return images + share * tf.where(share < 0, images, 1 - images)

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain": self.gain}
