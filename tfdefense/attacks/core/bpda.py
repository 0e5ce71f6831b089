"""Backward pass differentiable approximation (BPDA): a declared gradient for a step that has none.

Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section
4.1.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

ImageFunction = Callable[[tf.Tensor], tf.Tensor]


def bpda(forward: ImageFunction, backward: ImageFunction | None = None) -> ImageFunction:
    """Return `forward` with the gradient of `backward` in place of its own.

    A defence that quantises, resamples or compresses images must be attacked through BPDA. Without
    it the gradient is zero or missing, and the measured robustness means nothing.

    Args:
      forward: function from images float32 [N, H, W, C] to images; it may be a `tf.numpy_function`
        that keeps the shape.
      backward: differentiable function of the same shapes that is close to `forward`; None means
        the identity.

    Returns:
      A function of images with the values of `forward` and the gradient of `backward`.
    """

    @tf.custom_gradient
    def step(images: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        outputs = forward(images)
        if backward is None or outputs.shape.rank is None:
            outputs = tf.ensure_shape(outputs, images.shape)

        def gradient(
            upstream: tf.Tensor, variables: list[tf.Variable] | None = None
        ) -> tuple[tf.Tensor, list[None]]:
            if backward is None:
                by_images = upstream
            else:
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(images)
                    surrogate = backward(images)
                by_images = tape.gradient(surrogate, images, output_gradients=upstream)
            return by_images, [None] * len(variables or [])

        return outputs, gradient

    def call(images: tf.Tensor) -> tf.Tensor:
        return step(tf.convert_to_tensor(images))

    return call
