"""The autoencoders of MagNet: small convolutional networks."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.padding import BatchShape
from tfdefense.networks.upcast import upcast_bfloat16


@keras.saving.register_keras_serializable("tfdefense")
class Autoencoder(keras.Model):
    """Autoencoder of 3x3 convolutions with sigmoid activations (Meng and Chen 2017, table 2).

    With `pooled` it is the network of detector I and of the reformer: a convolution, 2x2 average
    pooling, two convolutions, 2x2 upsampling, a convolution. Without `pooled` it is the network of
    detector II: two convolutions. Both end with one more convolution, to the image.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C] in (0, 1). H and W may be
    odd; images are padded inside and cropped again.

    Args:
      channels: C, the number of image channels.
      filters: the number of filters of every convolution except the last.
      pooled: halve the image inside.
    """

    def __init__(
        self, channels: int = 1, filters: int = 3, *, pooled: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.filters = filters
        self.pooled = pooled

        def make_convolution(count: int, activation: str | None = "sigmoid") -> keras.Layer:
            return keras.layers.Conv2D(count, 3, padding="same", activation=activation)

        self.convolutions = [make_convolution(filters) for _ in range(4 if pooled else 2)]
        self.output_convolution = make_convolution(channels, activation=None)

    def build(self, input_shape: BatchShape) -> None:
        shape = input_shape
        for convolution in (*self.convolutions, self.output_convolution):
            convolution.build((None, None, None, shape[-1]))
            shape = convolution.compute_output_shape(shape)
        self.built = True

    def call(self, images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        del training
        if not self.pooled:
            hidden = images
            for convolution in self.convolutions:
                hidden = convolution(hidden)
            return self._to_images(hidden)
        height, width = images.shape[1:3]
        hidden = images
        if height % 2 or width % 2:
            hidden = tf.pad(hidden, [[0, 0], [0, height % 2], [0, width % 2], [0, 0]], "SYMMETRIC")
        first, second, third, fourth = self.convolutions
        hidden = tf.nn.avg_pool2d(first(hidden), 2, 2, "VALID")
        hidden = third(second(hidden))
        hidden = tf.repeat(tf.repeat(hidden, 2, axis=1), 2, axis=2)
        return self._to_images(fourth(hidden))[:, :height, :width, :]

    def _to_images(self, hidden: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(upcast_bfloat16(self.output_convolution(hidden)))

    def get_config(self) -> dict[str, Any]:
        own = {"channels": self.channels, "filters": self.filters, "pooled": self.pooled}
        return {**super().get_config(), **own}
