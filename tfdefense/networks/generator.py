"""The convolutional encoder-decoder that turns a perturbed image into a purified one."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.activations import leaky_relu
from tfdefense.networks.float32_cast import widened


@keras.saving.register_keras_serializable("tfdefense")
class EncoderDecoderGenerator(keras.Model):
    """The generator of APE-GAN++ (paper, section III.B and figure 2a).

    Strided convolutions halve the image once per entry of `filters`; transposed convolutions
    bring it back. Batch normalisation and leaky ReLU stand between them, tanh at the end. The
    network works in [-1, 1] inside and speaks [0, 1] outside.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C] in [0, 1]. Any H and W:
    sizes that the strides do not divide are padded inside and cropped again.

    Args:
      channels: C, the number of image channels.
      filters: output filters of each strided convolution, shallow to deep.
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

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        multiple = 2 ** len(self.encoder)
        batch, height, width, channels = input_shape
        shape = (batch, height + -height % multiple, width + -width % multiple, channels)
        norms = iter(self.norms)
        for layer in (*self.encoder, *self.decoder):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            if layer is not self.decoder[-1]:
                next(norms).build(shape)
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        height, width = images.shape[1:3]
        multiple = 2 ** len(self.encoder)
        hidden = 2.0 * images - 1.0
        pad = [[0, 0], [0, -height % multiple], [0, -width % multiple], [0, 0]]
        if any(after for _, after in pad):
            hidden = tf.pad(hidden, pad, constant_values=-1.0)
        layers = [*self.encoder, *self.decoder]
        for convolution, norm in zip(layers[:-1], self.norms, strict=True):
            hidden = norm(convolution(hidden), training=training)
            hidden = leaky_relu(hidden)
        hidden = tf.tanh(widened(layers[-1](hidden)))
        return (0.5 * hidden + 0.5)[:, :height, :width, :]

    def get_config(self) -> dict:
        return {**super().get_config(), "channels": self.channels, "filters": self.filters}
