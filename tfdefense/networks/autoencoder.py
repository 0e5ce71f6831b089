"""MagNet's autoencoders: small convolutional networks that give back what looks like the data."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.float32_cast import widened


@keras.saving.register_keras_serializable("tfdefense")
class Autoencoder(keras.Model):
    """An autoencoder of 3x3 convolutions with sigmoids (Meng and Chen 2017, table 2).

    With `pooled` that of its detector I and reformer: one convolution, average pooling 2x2, two convolutions,
    upsampling 2x2, one convolution; without that of its detector II: two convolutions. Then in either one more,
    to the image.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C] in (0, 1). Any H and W: odd sizes
    are padded inside and cropped again.

    Args:
      channels: C, the number of image channels.
      filters: of every convolution but the last.
      pooled: whether the image is halved in between.
    """

    def __init__(
        self, channels: int = 1, filters: int = 3, pooled: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.filters = filters
        self.pooled = pooled

        def convolution(count: int, activation: str | None = "sigmoid") -> keras.Layer:
            return keras.layers.Conv2D(count, 3, padding="same", activation=activation)

        self.convolutions = [convolution(filters) for _ in range(4 if pooled else 2)]
        self.output_convolution = convolution(channels, activation=None)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = input_shape
        for convolution in (*self.convolutions, self.output_convolution):
            convolution.build((None, None, None, shape[-1]))
            shape = convolution.compute_output_shape(shape)
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        del training
        if not self.pooled:
            hidden = images
            for convolution in self.convolutions:
                hidden = convolution(hidden)
            return self._images(hidden)
        height, width = images.shape[1:3]
        hidden = images
        if height % 2 or width % 2:
            hidden = tf.pad(hidden, [[0, 0], [0, height % 2], [0, width % 2], [0, 0]], "SYMMETRIC")
        first, second, third, fourth = self.convolutions
        hidden = tf.nn.avg_pool2d(first(hidden), 2, 2, "VALID")
        hidden = third(second(hidden))
        hidden = tf.repeat(tf.repeat(hidden, 2, axis=1), 2, axis=2)
        return self._images(fourth(hidden))[:, :height, :width, :]

    def _images(self, hidden: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(widened(self.output_convolution(hidden)))

    def get_config(self) -> dict[str, Any]:
        own = {"channels": self.channels, "filters": self.filters, "pooled": self.pooled}
        return {**super().get_config(), **own}
