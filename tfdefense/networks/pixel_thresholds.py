"""A layer that compares each pixel with learned thresholds, before any convolution mixes pixels."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.padding import BatchShape
from tfdefense.networks.surrogates import DeclaredSurrogates, choose_surrogate

# Slope of "leaky" below a threshold. From 0.02 to 0.5 the value makes no difference to APGD-CE.
_SLOPE_BELOW = 0.1

Derivative = Callable[[tf.Tensor], tf.Tensor]


def _leaky_derivative(compared: tf.Tensor) -> tf.Tensor:
    above = tf.cast(compared > 0, compared.dtype)
    return tf.maximum(above, tf.cast(_SLOPE_BELOW, above.dtype))


def _softplus_derivative(temperature: float) -> Derivative:
    """Return the derivative sigmoid(x / t) of the softplus t * log(1 + exp(x / t))."""
    return lambda compared: tf.sigmoid(compared / tf.cast(temperature, compared.dtype))


# Derivatives in place of that of a ReLU, as functions of slope * (pixel - threshold).
_DERIVATIVES: dict[str, Derivative] = {
    "true": lambda compared: tf.cast(compared > 0, compared.dtype),
    "leaky": _leaky_derivative,
    "softplus_0.3": _softplus_derivative(0.3),
    "softplus_1": _softplus_derivative(1.0),
}
SURROGATES = DeclaredSurrogates(tuple(_DERIVATIVES), "leaky")


def _relu(derivative: Derivative) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return a function of two equal tensors, `learned` and `seen`, that returns their ReLU.

    `learned` gets the gradient of a ReLU, and `seen` that of `derivative`.
    """

    @tf.custom_gradient
    def relu(
        learned: tf.Tensor, seen: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return upstream * _DERIVATIVES["true"](learned), upstream * derivative(learned)

        return tf.nn.relu(learned), gradient

    return relu


@keras.saving.register_keras_serializable("tfdefense")
class PixelThresholds(keras.layers.Layer):
    """Layer that compares pixels with learned thresholds: relu(slope * (pixel - threshold)).

    A change of less than 0.5 cannot move a black pixel above the middle of the range. A
    convolution sums over neighbours, which an attack changes all alike, so a network without this
    layer must first learn to look at single pixels. The initial thresholds are evenly spaced from
    0.

    The gradient with respect to the images, and only this one, is a surrogate (backward pass
    differentiable approximation, Athalye et al., ICML 2018, section 4.1). The true gradient is zero
    for a pixel below every threshold. An attack could not move such a pixel back, and the
    evaluation would report a hidden gradient as robustness. The layer declares four gradients, from
    the weakest to the smoothest. With x = slope * (pixel - threshold) they replace the derivative
    of relu(x):

      true: 1 above the threshold, 0 below, as of the ReLU itself.
      leaky: 1 above, 0.1 below, as of a leaky ReLU. This is the default, also in training
        unless `inner_surrogate` names another.
      softplus_0.3, softplus_1: sigmoid(x / t) with the temperature t, as of a softplus.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C * count], 0 or more.

    Args:
      count: the number of thresholds per channel.
      slope: the initial slope.
    """

    def __init__(self, count: int = 6, slope: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count
        self.slope = slope

    def build(self, input_shape: BatchShape) -> None:
        shape = (input_shape[-1], self.count)
        spaced = [[index / self.count for index in range(self.count)]] * input_shape[-1]
        self.thresholds = self.add_weight(
            shape=shape,
            initializer=lambda shape, dtype: tf.constant(spaced, dtype),
            name="thresholds",
        )
        slopes = keras.initializers.Constant(self.slope)
        self.slopes = self.add_weight(shape=shape, initializer=slopes, name="slopes")
        self.built = True

    def call(self, images: tf.Tensor) -> tf.Tensor:
        height, width, channels = images.shape[1:]
        pixels = images[..., tf.newaxis]
        learned = self.slopes * (tf.stop_gradient(pixels) - self.thresholds)
        seen = tf.stop_gradient(self.slopes) * (pixels - tf.stop_gradient(self.thresholds))
        above = _relu(_DERIVATIVES[choose_surrogate(SURROGATES)])(learned, seen)
        return tf.reshape(above, [-1, height, width, channels * self.count])

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, height, width, channels = input_shape
        return batch, height, width, channels * self.count

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count, "slope": self.slope}
