"""The generator of APE-GAN++: a convolutional encoder-decoder that purifies images."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.activations import leaky_relu
from tfdefense.networks.padding import BatchShape, pad_to_multiple, padded_shape
from tfdefense.networks.upcast import upcast_bfloat16


@keras.saving.register_keras_serializable("tfdefense")
class EncoderDecoderGenerator(keras.Model):
    """Generator of APE-GAN++ (paper, section III.B and figure 2a).

    Strided convolutions halve the image once per entry of `filters`, and transposed convolutions
    restore its size. Between them are batch normalisation and leaky ReLU; the last activation is
    tanh. Inside, images are in [-1, 1].

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C] in [0, 1]. Any H and W:
    images are padded inside and cropped again.

    Args:
      channels: C, the number of image channels.
      filters: the number of filters of each strided convolution, from the first to the innermost.
    """

    def __init__(
        self, channels: int = 1, filters: tuple[int, ...] = (64, 128), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.filters = tuple(filters)
        decoder_filters = (*reversed(self.filters[:-1]), channels)
        self.encoder = [keras.layers.Conv2D(f, 4, 2, padding="same") for f in self.filters]
        self.decoder = [
            keras.layers.Conv2DTranspose(f, 4, 2, padding="same") for f in decoder_filters
        ]
        between = len(self.encoder) + len(self.decoder) - 1
        self.norms = [keras.layers.BatchNormalization(momentum=0.9) for _ in range(between)]

    def build(self, input_shape: BatchShape) -> None:
        shape = padded_shape(input_shape, 2 ** len(self.encoder))
        norms = iter(self.norms)
        for layer in (*self.encoder, *self.decoder):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            if layer is not self.decoder[-1]:
                next(norms).build(shape)
        self.built = True

    def call(self, images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        height, width = images.shape[1:3]
        hidden = pad_to_multiple(2.0 * images - 1.0, 2 ** len(self.encoder), value=-1.0)
        layers = [*self.encoder, *self.decoder]
        for convolution, norm in zip(layers[:-1], self.norms, strict=True):
            hidden = norm(convolution(hidden), training=training)
            hidden = leaky_relu(hidden)
        hidden = tf.tanh(upcast_bfloat16(layers[-1](hidden)))
        return (0.5 * hidden + 0.5)[:, :height, :width, :]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "filters": self.filters}
