"""Backward pass differentiable approximation: a gradient for a step that has none."""

from collections.abc import Callable

import tensorflow as tf

Step = Callable[[tf.Tensor], tf.Tensor]


def bpda(forward: Step, backward: Step | None = None) -> Step:
    """`forward`, with the gradient of `backward` in place of its own.

    Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018,
    section 4.1. A defence that quantises, resamples or compresses is attacked through this; to
    attack it without is to measure nothing.

    Args:
      forward: images float32 [N, H, W, C] -> images; may be anything, also a `tf.numpy_function` that keeps
        the shape.
      backward: a differentiable function of the same shapes that is near `forward`; None means the
        identity.

    Returns:
      A function of images: the values of `forward`, the gradient of `backward`.
    """

    @tf.custom_gradient
    def step(images: tf.Tensor) -> tuple:
        outputs = forward(images)
        if backward is None or outputs.shape.rank is None:
            outputs = tf.ensure_shape(outputs, images.shape)

        def gradient(upstream: tf.Tensor, variables: list | None = None) -> tuple:
            if backward is None:
                towards_images = upstream
            else:
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(images)
                    surrogate = backward(images)
                towards_images = tape.gradient(surrogate, images, output_gradients=upstream)
            return towards_images, [None] * len(variables or [])

        return outputs, gradient

    def call(images: tf.Tensor) -> tf.Tensor:
        return step(tf.convert_to_tensor(images))

    return call
