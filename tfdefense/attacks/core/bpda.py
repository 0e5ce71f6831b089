"""Backward pass differentiable approximation (BPDA): a declared gradient for a step that has none.

Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section
4.1.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from tfdefense.errors import require
from tfdefense.networks.surrogates import DeclaredSurrogates, choose_surrogate

ImageFunction = Callable[[tf.Tensor], tf.Tensor]

_replaced: ContextVar[list[ImageFunction | None] | None] = ContextVar("replaced", default=None)


@contextlib.contextmanager
def use_declared_functions() -> Iterator[list[ImageFunction | None]]:
    """Return the values of `backward` from every `bpda` step that is called in this context.

    The model is then the differentiable approximation that the gradient belongs to. A step inside a
    `tf.function` of the model keeps what it was traced with.

    Yields:
      A list to which each step adds its `backward` (None for the identity) when it is called.
    """
    functions: list[ImageFunction | None] = []
    token = _replaced.set(functions)
    try:
        yield functions
    finally:
        _replaced.reset(token)


def bpda(
    forward: ImageFunction,
    backward: ImageFunction | Mapping[str, ImageFunction | None] | None = None,
) -> ImageFunction:
    """Return `forward` with the gradient of `backward` in place of its own.

    A defence that quantises, resamples or compresses images must be attacked through BPDA. Without
    it the gradient is zero or missing, and the measured robustness means nothing.

    Args:
      forward: function from images float32 [N, H, W, C] to images; it may be a `tf.numpy_function`
        that keeps the shape.
      backward: differentiable function of the same shapes that is close to `forward`; None means
        the identity. Several of them, name -> function, are surrogates that attacks try in turn:
        the first is the default, the others follow from the weakest to the smoothest.

    Returns:
      A function of images with the values of `forward` and the gradient of `backward`.

    Raises:
      UserError: `backward` is an empty mapping.
    """
    if not isinstance(backward, Mapping):
        return _replace_gradient(forward, backward)
    require(len(backward) > 0, "bpda: backward has no function, at least one needed.")
    steps = {name: _replace_gradient(forward, function) for name, function in backward.items()}
    declared = DeclaredSurrogates(tuple(steps), next(iter(steps)))

    def call(images: tf.Tensor) -> tf.Tensor:
        return steps[choose_surrogate(declared)](images)

    return call


def _replace_gradient(forward: ImageFunction, backward: ImageFunction | None) -> ImageFunction:
    """Return `forward` with the gradient of one function; arguments as for `bpda`."""

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
        images, replaced = tf.convert_to_tensor(images), _replaced.get()
        if replaced is not None:
            replaced.append(backward)
            return tf.identity(images) if backward is None else backward(images)
        return step(images)

    return call
