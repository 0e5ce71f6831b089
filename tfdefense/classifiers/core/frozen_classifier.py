"""Classifier in inference mode that returns logits, as attacks and defences use it."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.classifiers.core.float32_inference import compute_in_float32, is_mixed
from tfdefense.data.core.dataset import check_logits
from tfdefense.errors import UserError, require, short_reason
from tfdefense.networks.upcast import cast_to_float32

# Errors of operations that do not take their inputs; others are those of the computer.
_REFUSALS = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


class FrozenClassifier:
    """A Keras model or a callable from images to logits, in inference mode, checked once.

    Args:
      model: maps images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K]; or a
        `FrozenClassifier`, whose model is taken.
      image_shape: the shape (H, W, C) of its images.
      num_classes: the K that it must have; None accepts any.

    Attributes:
      model: the given model.
      image_shape: the given shape.
      num_classes: K.
      name: name of the model, for error messages and reports.

    Raises:
      UserError: the model does not take such images, or does not return finite logits [N, K].
    """

    model: Callable[[tf.Tensor], tf.Tensor]

    def __init__(
        self,
        model: Callable[[tf.Tensor], tf.Tensor],
        image_shape: tuple[int, int, int],
        num_classes: int | None = None,
    ) -> None:
        self.model = model.model if isinstance(model, FrozenClassifier) else model
        height, width, channels = image_shape
        self.image_shape = (height, width, channels)
        name = getattr(self.model, "name", None) or getattr(self.model, "__name__", None)
        self.name = name or type(self.model).__name__
        # Of the model as it is given. Training in bfloat16 changes its layers later; attacks on it
        # then also compute in bfloat16.
        self._is_mixed = is_mixed(self.model)
        self.num_classes = self._probe().shape[-1]
        require(
            num_classes in (None, self.num_classes),
            f"classifier {self.name!r}: gives {self.num_classes} classes, the data has {num_classes}.",
        )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K] of images float32 [N, H, W, C] in [0, 1].

        The layers of a model that was given in mixed precision compute in float32.
        """
        if not isinstance(self.model, keras.Model):
            return cast_to_float32(self.model(images))
        context = compute_in_float32(self.model) if self._is_mixed else contextlib.nullcontext()
        with context:
            return cast_to_float32(self.model(images, training=False))

    def identity(self) -> tuple[list[Any], dict[str, Any]]:
        """Return no settings, and the model as the network "classifier": see `Identifiable`."""
        return [], {"classifier": self.model}

    def code(self) -> tuple[type, ...]:
        """Return this class: see `Identifiable`."""
        return (type(self),)

    def _probe(self) -> np.ndarray:
        """Return the logits of four random images after checking the model with them."""
        expected = getattr(self.model, "input_shape", None)
        if isinstance(expected, tuple) and len(expected) == 4:
            fits = all(
                want in (None, got)
                for want, got in zip(expected[1:], self.image_shape, strict=True)
            )
            require(
                fits,
                f"classifier {self.name!r}: takes images of {expected[1:]}, the data has"
                f" {self.image_shape}.",
            )
        images = tf.random.stateless_uniform([4, *self.image_shape], seed=[0, 0])
        try:
            logits = np.asarray(self(images))
        except UserError:
            raise
        except (ValueError, TypeError, *_REFUSALS) as error:
            raise UserError(
                f"classifier {self.name!r}: cannot take images of {self.image_shape}:"
                f" {short_reason(error)}"
            ) from error
        check_logits(logits, len(images), f"classifier {self.name!r}")
        return logits
