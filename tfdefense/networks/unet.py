"""The U-Net generator of pix2pix: an encoder-decoder whose halves are joined at every size."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.float32_cast import widened

_FILTERS = (64, 128, 256, 512, 512, 512, 512, 512)
_DROPOUTS = 3


@keras.saving.register_keras_serializable("tfdefense")
class UNet(keras.Model):
    """pix2pix's generator (Isola et al. 2017, section 6.1.1), with as many levels as the images allow.

    Down: 4x4 convolutions with stride 2 to C64-C128-C256-C512-..., leaky ReLU(0.2), batch normalisation
    but for the first and the innermost. Up: 4x4 transposed convolutions, batch normalisation, dropout 0.5
    in the innermost three, ReLU; each takes the encoder's features of its size beside its own. Images of
    28x28 are padded to 32x32, which has five levels.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C] in [0, 1]. Any H and W: sizes
    that the strides do not divide are padded inside and cropped again. Dropout is for training only.

    Args:
      channels: C, the number of image channels.
      levels: how often the image is halved; None means down to one pixel, at most eight times.
      image_size: (H, W), from which `levels` follows where it is None.
    """

    def __init__(
        self,
        channels: int = 1,
        levels: int | None = None,
        image_size: tuple[int, int] = (28, 28),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.image_size = tuple(image_size)
        self.levels = levels or default_levels(self.image_size)
        filters = _FILTERS[: self.levels]
        decoder_filters = (*reversed(filters[:-1]), channels)

        def convolution(kind: type, count: int) -> keras.Layer:
            initializer = keras.initializers.RandomNormal(stddev=0.02)
            return kind(count, 4, 2, padding="same", kernel_initializer=initializer)

        self.encoder = [convolution(keras.layers.Conv2D, count) for count in filters]
        self.decoder = [
            convolution(keras.layers.Conv2DTranspose, count) for count in decoder_filters
        ]
        # None before the first and the innermost encoder layer, and before the output.
        self.encoder_norms = [keras.layers.BatchNormalization(momentum=0.9) for _ in filters[1:-1]]
        self.decoder_norms = [
            keras.layers.BatchNormalization(momentum=0.9) for _ in decoder_filters[:-1]
        ]
        self.dropouts = [keras.layers.Dropout(0.5) for _ in decoder_filters[:-1][:_DROPOUTS]]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        multiple = 2**self.levels
        batch, height, width, channels = input_shape
        shape = (batch, height + -height % multiple, width + -width % multiple, channels)
        shapes = []
        for depth, convolution in enumerate(self.encoder):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            if 0 < depth < self.levels - 1:
                self.encoder_norms[depth - 1].build(shape)
            shapes.append(shape)
        for depth, convolution in enumerate(self.decoder):
            if depth:
                joined = shape[-1] + shapes[self.levels - 1 - depth][-1]
                shape = (*shape[:-1], joined)
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            if depth < self.levels - 1:
                self.decoder_norms[depth].build(shape)
        for dropout in self.dropouts:
            dropout.built = True
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        height, width = images.shape[1:3]
        multiple = 2**self.levels
        hidden = 2.0 * images - 1.0
        pad = [[0, 0], [0, -height % multiple], [0, -width % multiple], [0, 0]]
        if any(after for _, after in pad):
            hidden = tf.pad(hidden, pad, constant_values=-1.0)
        encoded = []
        for depth, convolution in enumerate(self.encoder):
            hidden = _down(convolution, tf.nn.leaky_relu(hidden, 0.2) if depth else hidden)
            if 0 < depth < self.levels - 1:
                hidden = self.encoder_norms[depth - 1](hidden, training=training)
            encoded.append(hidden)
        for depth, convolution in enumerate(self.decoder):
            if depth:
                hidden = tf.concat([hidden, encoded[self.levels - 1 - depth]], axis=-1)
            hidden = _up(convolution, tf.nn.relu(hidden))
            if depth < self.levels - 1:
                hidden = self.decoder_norms[depth](hidden, training=training)
            if depth < len(self.dropouts):
                hidden = self.dropouts[depth](hidden, training=training)
        return (0.5 * tf.tanh(widened(hidden)) + 0.5)[:, :height, :width, :]

    def get_config(self) -> dict[str, Any]:
        own = {"channels": self.channels, "levels": self.levels, "image_size": self.image_size}
        return {**super().get_config(), **own}


def default_levels(image_size: tuple[int, int]) -> int:
    """Halvings that bring the longer side, rounded up to a power of two, to one pixel; at most eight."""
    return min(max(1, (max(image_size) - 1).bit_length()), len(_FILTERS))


def _down(convolution: keras.Layer, images: tf.Tensor) -> tf.Tensor:
    """The convolution; where it leaves one pixel, without the taps that only ever meet padding."""
    if images.shape[1:3] != (2, 2):
        return convolution(images)
    kernel = tf.convert_to_tensor(convolution.kernel)[1:3, 1:3]
    kernel = tf.reshape(kernel, [-1, convolution.filters])
    flat = tf.reshape(images, [-1, kernel.shape[0]])
    return (tf.matmul(flat, kernel) + convolution.bias)[:, tf.newaxis, tf.newaxis, :]


def _up(convolution: keras.Layer, images: tf.Tensor) -> tf.Tensor:
    """The transposed convolution; where it begins with one pixel, without the taps that are cut off again."""
    if images.shape[1:3] != (1, 1):
        return convolution(images)
    kernel = tf.convert_to_tensor(convolution.kernel)[1:3, 1:3]
    kernel = tf.reshape(kernel, [4 * convolution.filters, -1])
    flat = tf.matmul(images[:, 0, 0, :], kernel, transpose_b=True)
    return tf.reshape(flat, [-1, 2, 2, convolution.filters]) + convolution.bias
