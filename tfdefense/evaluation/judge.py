"""A model, attacked and asked."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfdefense.attacks import Attack
from tfdefense.attacks.base import Model
from tfdefense.data.dataset import Split
from tfdefense.progress import Progress


class Judge:
    """A model, attacked and asked in batches, with progress.

    Args:
      model: has a `name`.
      batch_size: images in a batch.
    """

    def __init__(self, model: Model, batch_size: int = 250) -> None:
        self.model = model
        self.batch_size = batch_size
        self._answers: dict[Callable, Callable] = {}

    def predict(self, split: Split, what: str | None = None) -> np.ndarray:
        """Predicted classes int32 [N]."""
        return self.ask(self._classes, split, what)

    def ask(self, question: Callable, split: Split, what: str | None = None) -> np.ndarray:
        """`question(images)` of all images: an array [N, ...]. Compiled once for each question."""
        if question not in self._answers:
            images = tf.TensorSpec([None, *split.image_shape], tf.float32)
            self._answers[question] = tf.function(question).get_concrete_function(images)
        answer = self._answers[question]
        return self._in_batches(
            lambda part: answer(tf.constant(split.images[part])), len(split), what
        )

    def attack(self, attack: Attack, split: Split, targets: np.ndarray | None = None) -> Split:
        """The images of `split`, attacked; so that they are taken for `targets` [N], if there are any."""

        def craft(part: slice) -> tf.Tensor:
            aims = None if targets is None else tf.constant(targets[part], tf.int32)
            return attack(
                self.model,
                tf.constant(split.images[part]),
                tf.constant(split.labels[part]),
                targets=aims,
            )

        images = self._in_batches(craft, len(split), f"{attack.name} on {self.model.name}")
        return dataclasses.replace(split, images=images)

    def _classes(self, images: tf.Tensor) -> tf.Tensor:
        return tf.argmax(self.model(images), -1, output_type=tf.int32)

    def _in_batches(
        self, function: Callable[[slice], tf.Tensor], count: int, what: str | None
    ) -> np.ndarray:
        progress = Progress(what, count) if what else None
        parts = []
        for start in range(0, count, self.batch_size):
            parts.append(function(slice(start, start + self.batch_size)).numpy())
            if progress:
                progress.advance(len(parts[-1]))
        if progress:
            progress.close()
        return np.concatenate(parts)
