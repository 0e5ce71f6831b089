"""A generator that says how to change an image, not what the image is."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.widened import widened


@keras.saving.register_keras_serializable("tfdefense")
class ResidualGenerator(keras.Model):
    """The image, moved as another generator says.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> the same. An output of the other generator above a half moves its pixel towards
    white, below towards black, by the share `tanh(gain) |2 output - 1|` of the way there; a half leaves it. So nothing leaves [0, 1],
    and nothing is cut off, where gradients would end. `gain` is learned, one a channel; a small one to begin with makes an untrained
    network nearly the identity (ReZero, Bachlechner et al. 2021).

    Args:
      network: the other generator, built.
      gain: to begin with.
    """

    def __init__(self, network: keras.Model, gain: float = 0.1, **kwargs: Any) -> None:
        # Images stay float32, whatever the network computes in.
        super().__init__(autocast=False, **kwargs)
        self.network = network
        self.gain = gain

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.gains = self.add_weight(
            shape=input_shape[-1:],
            initializer=keras.initializers.Constant(self.gain),
            name="gains",
            autocast=False,
        )
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        output = widened(self.network(images, training=training))
        share = tf.tanh(self.gains) * (2 * output - 1)
        return images + share * tf.where(share < 0, images, 1 - images)

    def get_config(self) -> dict[str, Any]:
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network, "gain": self.gain}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ResidualGenerator":
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)
