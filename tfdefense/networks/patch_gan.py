"""The PatchGAN discriminator of pix2pix: one real-or-fake logit per patch of an image."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.padding import BatchShape
from tfdefense.networks.upcast import upcast_bfloat16


@keras.saving.register_keras_serializable("tfdefense")
class PatchGAN(keras.Model):
    """Discriminator of pix2pix (Isola et al. 2017, section 6.1.2), conditioned on an image.

    4x4 convolutions with stride 2 to 64 and 128 channels, one with stride 1 to 256, and one to a
    logit per patch. Leaky ReLU(0.2); batch normalisation in all hidden layers except the first. A
    patch is 34x34 pixels, about the width of a 28x28 or 32x32 image. pix2pix's 70x70 version has
    one more layer.

    Call: `condition`, `images` float32 [N, H, W, C] in [0, 1] -> logits float32 [N, h, w, 1].

    Args:
      filters: the number of filters of each hidden layer; all hidden layers except the last halve
        the image.
    """

    def __init__(self, filters: tuple[int, ...] = (64, 128, 256), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = tuple(filters)

        def make_convolution(count: int, strides: int) -> keras.Layer:
            initializer = keras.initializers.RandomNormal(stddev=0.02)
            return keras.layers.Conv2D(
                count, 4, strides, padding="same", kernel_initializer=initializer
            )

        strides = [*([2] * (len(self.filters) - 1)), 1]
        self.convolutions = [
            make_convolution(*pair) for pair in zip(self.filters, strides, strict=True)
        ]
        self.norms = [keras.layers.BatchNormalization(momentum=0.9) for _ in self.filters[1:]]
        self.score = make_convolution(1, 1)

    def build(self, input_shape: BatchShape) -> None:
        batch, height, width, channels = input_shape
        shape = (batch, height, width, 2 * channels)
        for depth, convolution in enumerate(self.convolutions):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            if depth:
                self.norms[depth - 1].build(shape)
        self.score.build(shape)
        self.built = True

    def call(self, condition: tf.Tensor, images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        hidden = 2.0 * tf.concat([condition, images], axis=-1) - 1.0
        for depth, convolution in enumerate(self.convolutions):
            hidden = convolution(hidden)
            if depth:
                hidden = self.norms[depth - 1](hidden, training=training)
            hidden = tf.nn.leaky_relu(hidden, 0.2)
        return upcast_bfloat16(self.score(hidden))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}
