"""The U-Net generator of pix2pix: an encoder-decoder with a skip connection at every size."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.padding import BatchShape, pad_to_multiple, padded_shape
from tfdefense.networks.upcast import upcast_bfloat16

_FILTERS = (64, 128, 256, 512, 512, 512, 512, 512)
_DROPOUTS = 3


@keras.saving.register_keras_serializable("tfdefense")
class UNet(keras.Model):
    """Generator of pix2pix (Isola et al. 2017, section 6.1.1); the image size limits the levels.

    Down: 4x4 convolutions with stride 2 to C64-C128-C256-C512-..., leaky ReLU(0.2), batch
    normalisation except in the first and the innermost. Up: 4x4 transposed convolutions, batch
    normalisation, dropout 0.5 in the innermost three, ReLU. Each level up also gets the encoder's
    features of its size. Images of 28x28 are padded to 32x32, which has five levels.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C] in [0, 1]. Any H and W:
    images are padded inside and cropped again. Dropout is applied in training only.

    Args:
      channels: C, the number of image channels.
      levels: the number of times that the image is halved; None means down to one pixel, at most
        eight times.
      image_size: (H, W), which determines `levels` if it is None.
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
        height, width = image_size
        self.image_size = (height, width)
        self.levels = levels or default_levels(self.image_size)
        filters = _FILTERS[: self.levels]
        decoder_filters = (*reversed(filters[:-1]), channels)

        def make_convolution(kind: type[keras.Layer], count: int) -> keras.Layer:
            initializer = keras.initializers.RandomNormal(stddev=0.02)
            return kind(count, 4, 2, padding="same", kernel_initializer=initializer)

        self.encoder = [make_convolution(keras.layers.Conv2D, count) for count in filters]
        self.decoder = [
            make_convolution(keras.layers.Conv2DTranspose, count) for count in decoder_filters
        ]
        # No normalisation after the first and the innermost encoder layer, and before the output.
        self.encoder_norms = [keras.layers.BatchNormalization(momentum=0.9) for _ in filters[1:-1]]
        self.decoder_norms = [
            keras.layers.BatchNormalization(momentum=0.9) for _ in decoder_filters[:-1]
        ]
        self.dropouts = [keras.layers.Dropout(0.5) for _ in decoder_filters[:-1][:_DROPOUTS]]

    def build(self, input_shape: BatchShape) -> None:
        shape = padded_shape(input_shape, 2**self.levels)
        skip_shapes = []
        for depth, convolution in enumerate(self.encoder):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            if 0 < depth < self.levels - 1:
                self.encoder_norms[depth - 1].build(shape)
            skip_shapes.append(shape)
        for depth, convolution in enumerate(self.decoder):
            if depth:
                skip_shape = skip_shapes[self.levels - 1 - depth]
                shape = (*shape[:-1], shape[-1] + skip_shape[-1])
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            if depth < self.levels - 1:
                self.decoder_norms[depth].build(shape)
        for dropout in self.dropouts:
            dropout.built = True
        self.built = True

    def call(self, images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        height, width = images.shape[1:3]
        hidden = pad_to_multiple(2.0 * images - 1.0, 2**self.levels, value=-1.0)
        skips = []
        for depth, convolution in enumerate(self.encoder):
            hidden = _convolve_down(convolution, tf.nn.leaky_relu(hidden, 0.2) if depth else hidden)
            if 0 < depth < self.levels - 1:
                hidden = self.encoder_norms[depth - 1](hidden, training=training)
            skips.append(hidden)
        for depth, convolution in enumerate(self.decoder):
            if depth:
                hidden = tf.concat([hidden, skips[self.levels - 1 - depth]], axis=-1)
            hidden = _convolve_up(convolution, tf.nn.relu(hidden))
            if depth < self.levels - 1:
                hidden = self.decoder_norms[depth](hidden, training=training)
            if depth < len(self.dropouts):
                hidden = self.dropouts[depth](hidden, training=training)
        return (0.5 * tf.tanh(upcast_bfloat16(hidden)) + 0.5)[:, :height, :width, :]

    def get_config(self) -> dict[str, Any]:
        own = {"channels": self.channels, "levels": self.levels, "image_size": self.image_size}
        return {**super().get_config(), **own}


def default_levels(image_size: tuple[int, int]) -> int:
    """Return the number of halvings from the longer side to one pixel, at most eight.

    The longer side is rounded up to a power of two.

    Args:
      image_size: (H, W).
    """
    return min(max(1, (max(image_size) - 1).bit_length()), len(_FILTERS))


def _convolve_down(convolution: keras.Layer, images: tf.Tensor) -> tf.Tensor:
    """Apply a convolution with stride 2.

    If the result is one pixel, 12 of the 16 kernel positions only see padding. They are left out,
    and the rest is a matrix product.
    """
    if images.shape[1:3] != (2, 2):
        return convolution(images)
    kernel = tf.convert_to_tensor(convolution.kernel)[1:3, 1:3]
    kernel = tf.reshape(kernel, [-1, convolution.filters])
    flat = tf.reshape(images, [-1, kernel.shape[0]])
    return (tf.matmul(flat, kernel) + convolution.bias)[:, tf.newaxis, tf.newaxis, :]


def _convolve_up(convolution: keras.Layer, images: tf.Tensor) -> tf.Tensor:
    """Apply a transposed convolution with stride 2.

    If the input is one pixel, 12 of the 16 kernel positions only write to pixels that are cropped.
    They are left out, and the rest is a matrix product.
    """
    if images.shape[1:3] != (1, 1):
        return convolution(images)
    kernel = tf.convert_to_tensor(convolution.kernel)[1:3, 1:3]
    kernel = tf.reshape(kernel, [4 * convolution.filters, -1])
    flat = tf.matmul(images[:, 0, 0, :], kernel, transpose_b=True)
    return tf.reshape(flat, [-1, 2, 2, convolution.filters]) + convolution.bias
