"""Type of the models that attacks take."""

from typing import Protocol

import tensorflow as tf


class Model(Protocol):
    """Function from images to logits: a Keras model, a defended pipeline, an `Expectation`.

    It should allow weak references, because compiled attacks are cached by model without keeping it
    alive. An object with `__slots__` is compiled at every call.
    """

    def __call__(self, images: tf.Tensor, /) -> tf.Tensor:
        """Return the logits float32 [N, K] of images float32 [N, H, W, C] in [0, 1]."""
        ...
