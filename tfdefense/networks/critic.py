"""The critic: an unbounded score of how much an image looks like a clean one."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.activations import leaky_relu
from tfdefense.networks.float32_cast import widened


@keras.saving.register_keras_serializable("tfdefense")
class Critic(keras.Model):
    """The discriminator of APE-GAN++ (paper, section III.B and figure 2b).

    Strided convolutions with leaky ReLU, then one linear score. No sigmoid, because the score is a
    Wasserstein critic's; no batch normalisation, because the gradient penalty is per example.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> scores float32 [N], unbounded.

    Args:
      filters: output filters of each strided convolution.
    """

    def __init__(self, filters: tuple[int, ...] = (64, 128, 256), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = tuple(filters)
        self.convolutions = [keras.layers.Conv2D(f, 3, 2, padding="same") for f in self.filters]
        self.flatten = keras.layers.Flatten()
        self.score = keras.layers.Dense(1)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = input_shape
        for layer in (*self.convolutions, self.flatten, self.score):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        hidden = 2.0 * images - 1.0
        for convolution in self.convolutions:
            hidden = leaky_relu(convolution(hidden))
        return widened(tf.squeeze(self.score(self.flatten(hidden)), -1))

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters}
