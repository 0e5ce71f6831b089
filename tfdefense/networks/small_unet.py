"""A small U-Net without batch normalisation, fast enough to be attacked in every training step."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.padding import BatchShape, pad_to_multiple, padded_shape
from tfdefense.networks.upcast import upcast_bfloat16


@keras.saving.register_keras_serializable("tfdefense")
class SmallUNet(keras.Model):
    """Purifier of a few hundred thousand weights that processes each image independently.

    There is no batch normalisation, because it could tell adversarial from clean batches by their
    statistics. A 3x3 convolution at full size, 4x4 convolutions with stride 2 down, 4x4 transposed
    convolutions up. Each level up also gets the encoder's features of its size. ReLU between, a
    sigmoid at the end.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C] in [0, 1]. Any H and W:
    images are padded inside and cropped again.

    Args:
      channels: C, the number of image channels.
      filters: the number of filters of each level, from the full size down.
    """

    def __init__(
        self, channels: int = 1, filters: tuple[int, ...] = (32, 64, 128), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.filters = tuple(filters)
        options = {"padding": "same", "activation": "relu", "kernel_initializer": "he_uniform"}
        self.first = keras.layers.Conv2D(self.filters[0], 3, **options)
        self.down = [keras.layers.Conv2D(count, 4, 2, **options) for count in self.filters[1:]]
        self.up = [
            keras.layers.Conv2DTranspose(count, 4, 2, **options)
            for count in reversed(self.filters[:-1])
        ]
        self.last = keras.layers.Conv2D(channels, 3, padding="same")

    def build(self, input_shape: BatchShape) -> None:
        shape = padded_shape(input_shape, 2 ** len(self.down))
        skip_shapes = []
        for layer in (self.first, *self.down):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            skip_shapes.append(shape)
        for layer, skip_shape in zip(self.up, reversed(skip_shapes[:-1]), strict=True):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            shape = (*shape[:-1], shape[-1] + skip_shape[-1])
        self.last.build(shape)
        self.built = True

    def call(self, images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        del training
        height, width = images.shape[1:3]
        hidden = pad_to_multiple(images, 2 ** len(self.down))
        skips = []
        for layer in (self.first, *self.down):
            hidden = layer(hidden)
            skips.append(hidden)
        for layer, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            hidden = tf.concat([layer(hidden), skip], axis=-1)
        return tf.sigmoid(upcast_bfloat16(self.last(hidden)))[:, :height, :width, :]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "filters": self.filters}
