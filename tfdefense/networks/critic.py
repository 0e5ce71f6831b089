"""The critic of APE-GAN++: an unbounded score of an image."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.activations import leaky_relu
from tfdefense.networks.padding import BatchShape
from tfdefense.networks.upcast import upcast_bfloat16


@keras.saving.register_keras_serializable("tfdefense")
class Critic(keras.Model):
    """Discriminator of APE-GAN++ (paper, section III.B and figure 2b).

    Strided convolutions with leaky ReLU, then one linear score. There is no sigmoid, because a
    Wasserstein critic is unbounded. There is no batch normalisation, because the gradient penalty
    is per example.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> scores float32 [N], unbounded. Clean images
    get higher scores than purified ones.

    Args:
      filters: the number of filters of each strided convolution.
    """

    def __init__(self, filters: tuple[int, ...] = (64, 128, 256), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = tuple(filters)
        self.convolutions = [keras.layers.Conv2D(f, 3, 2, padding="same") for f in self.filters]
        self.flatten = keras.layers.Flatten()
        self.score = keras.layers.Dense(1)

    def build(self, input_shape: BatchShape) -> None:
        shape = input_shape
        for layer in (*self.convolutions, self.flatten, self.score):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        del training
        hidden = 2.0 * images - 1.0
        for convolution in self.convolutions:
            hidden = leaky_relu(convolution(hidden))
        return upcast_bfloat16(tf.squeeze(self.score(self.flatten(hidden)), -1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}
