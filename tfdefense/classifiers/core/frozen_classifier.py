"""A classifier as everything behind it sees it: fixed, and giving logits."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.data.core.dataset import check_logits
from tfdefense.errors import require
from tfdefense.networks.upcast import upcast_bfloat16


class FrozenClassifier:
    """Any Keras model or callable from images to logits, in inference mode, checked once.

    Args:
      model: images float32 [N, H, W, C] in [0, 1] -> logits float32 [N, K].
      image_shape: [H, W, C] that it will be given.
      num_classes: K that it must give, or None to accept any.

    Attributes:
      model, image_shape, num_classes, name: as given or found.

    Raises:
      UserError: it cannot take such images, gives something else than [N, K], or gives probabilities.
    """

    def __init__(
        self,
        model: Callable[[tf.Tensor], tf.Tensor],
        image_shape: tuple[int, int, int],
        num_classes: int | None = None,
    ) -> None:
        if isinstance(model, FrozenClassifier):
            model = model.model
        self.model = model
        self.image_shape = tuple(image_shape)
        named = getattr(model, "name", None) or getattr(model, "__name__", None)
        self.name = named or type(model).__name__
        logits = self._probe()
        self.num_classes = logits.shape[-1]
        require(
            num_classes in (None, self.num_classes),
            f"classifier {self.name!r}: gives {self.num_classes} classes, the data has {num_classes}.",
        )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Logits float32 [N, K] of images float32 [N, H, W, C] in [0, 1]."""
        if isinstance(self.model, keras.Model):
            # Not float32 only while it is being trained in another precision.
            return upcast_bfloat16(self.model(images, training=False))
        return self.model(images)

    def identity(self) -> tuple[list[Any], dict[str, Any]]:
        """Return no settings, and the model as the network "classifier": see `Identifiable`."""
        return [], {"classifier": self.model}

    def _probe(self) -> np.ndarray:
        """Logits of a few random images, with everything checked that one call can tell."""
        expected = getattr(self.model, "input_shape", None)
        if isinstance(expected, tuple) and len(expected) == 4:
            fits = all(
                want in (None, got)
                for want, got in zip(expected[1:], self.image_shape, strict=True)
            )
            require(
                fits,
                f"classifier {self.name!r}: takes images of {expected[1:]}, the data has {self.image_shape}.",
            )
        images = tf.random.stateless_uniform([4, *self.image_shape], seed=[0, 0])
        logits = np.asarray(self(images))
        check_logits(logits, len(images), f"classifier {self.name!r}")
        return logits
