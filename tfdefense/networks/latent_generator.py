"""The generator of Defense-GAN: from latent codes to images."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.upcast import upcast_bfloat16


@keras.saving.register_keras_serializable("tfdefense")
class LatentGenerator(keras.Model):
    """Generator of Gulrajani et al. 2017 for MNIST, which Defense-GAN uses.

    A dense layer to an eighth of the image size, 5x5 transposed convolutions with stride 2 and
    ReLU to half of it, one more transposed convolution to the image, and a sigmoid. There is no
    batch normalisation, so the image of a code does not depend on the other codes in the batch.

    Call: `codes` float32 [N, Z], standard normal -> float32 [N, H, W, C] in (0, 1).

    Args:
      image_shape: (H, W, C).
      code_size: Z.
      filters: the number of filters of the last hidden layer; the layers before it have 2 and 4
        times as many.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (28, 28, 1),
        code_size: int = 128,
        filters: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        height, width, channels = image_shape
        self.image_shape = (height, width, channels)
        self.code_size = code_size
        self.filters = filters
        self.sizes = [(-(-height // k), -(-width // k)) for k in (8, 4, 2, 1)]
        self.dense = keras.layers.Dense(4 * filters * self.sizes[0][0] * self.sizes[0][1])
        self.decoder = [
            keras.layers.Conv2DTranspose(count, 5, 2, padding="same")
            for count in (2 * filters, filters, channels)
        ]

    def build(self, input_shape: tuple[int | None, int]) -> None:
        self.dense.build(input_shape)
        count = 4 * self.filters
        for layer, (height, width) in zip(self.decoder, self.sizes, strict=False):
            layer.build((None, height, width, count))
            count = layer.filters
        self.built = True

    def call(self, codes: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        del training
        hidden = tf.reshape(self.dense(codes), [-1, *self.sizes[0], 4 * self.filters])
        for layer, (height, width) in zip(self.decoder, self.sizes[1:], strict=True):
            # Doubling gives one row or column too many where the size is odd.
            hidden = layer(tf.nn.relu(hidden))[:, :height, :width, :]
        return tf.sigmoid(upcast_bfloat16(hidden))

    def get_config(self) -> dict[str, Any]:
        own = {
            "image_shape": self.image_shape,
            "code_size": self.code_size,
            "filters": self.filters,
        }
        return {**super().get_config(), **own}
