"""A small U-Net without batch normalisation: quick enough to be attacked at every step of its training."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.float32_cast import widened


@keras.saving.register_keras_serializable("tfdefense")
class SmallUNet(keras.Model):
    """A purifier of a few hundred thousand weights that treats every image alone, in training too.

    Batch normalisation would tell adversarial batches from clean ones by their statistics; there is none. A 3x3
    convolution at full size, 4x4 convolutions with stride 2 down, transposed ones up; each level joins the encoder's
    features of its size. ReLU between, a sigmoid at the end.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C] in [0, 1]. Any H and W: sizes that the strides
    do not divide are padded inside and cropped again.

    Args:
      channels: C, the number of image channels.
      filters: of each level, from the full size down.
    """

    def __init__(
        self, channels: int = 1, filters: tuple[int, ...] = (32, 64, 128), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.filters = tuple(filters)
        given = {"padding": "same", "activation": "relu", "kernel_initializer": "he_uniform"}
        self.first = keras.layers.Conv2D(self.filters[0], 3, **given)
        self.down = [keras.layers.Conv2D(count, 4, 2, **given) for count in self.filters[1:]]
        self.up = [
            keras.layers.Conv2DTranspose(count, 4, 2, **given)
            for count in reversed(self.filters[:-1])
        ]
        self.last = keras.layers.Conv2D(channels, 3, padding="same")

    @property
    def multiple(self) -> int:
        """What heights and widths are padded to a multiple of."""
        return 2 ** len(self.down)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        batch, height, width, channels = input_shape
        shape = (batch, height + -height % self.multiple, width + -width % self.multiple, channels)
        shapes = []
        for layer in (self.first, *self.down):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            shapes.append(shape)
        for layer, beside in zip(self.up, reversed(shapes[:-1]), strict=True):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            shape = (*shape[:-1], shape[-1] + beside[-1])
        self.last.build(shape)
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        del training  # It does the same in either case.
        height, width = images.shape[1:3]
        pad = [[0, 0], [0, -height % self.multiple], [0, -width % self.multiple], [0, 0]]
        hidden = tf.pad(images, pad) if any(after for _, after in pad) else images
        encoded = []
        for layer in (self.first, *self.down):
            hidden = layer(hidden)
            encoded.append(hidden)
        for layer, beside in zip(self.up, reversed(encoded[:-1]), strict=True):
            hidden = tf.concat([layer(hidden), beside], axis=-1)
        return tf.sigmoid(widened(self.last(hidden)))[:, :height, :width, :]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "filters": self.filters}
