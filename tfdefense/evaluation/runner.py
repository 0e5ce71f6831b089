"""A model, attacked and asked."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.attacks import Attack
from tfdefense.attacks.core.attack import Model
from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.per_image_results import PerImageResults, perturbation_norms
from tfdefense.training.distribute.batching import map_batches, split_over_replicas


class ModelRunner:
    """A model, attacked and asked in batches, with progress.

    Args:
      model: has a `name`; of a defended one the purifier is judged too.
      batch_size: images in a batch.
    """

    def __init__(self, model: Model, batch_size: int = 250) -> None:
        self.model = model
        self.batch_size = batch_size
        self._answers: dict[Callable, Callable] = {}

    def judge(self, split: Split, clean: Split, what: str | None = None) -> PerImageResults:
        """What becomes of `split`, which an attack made of the first images of `clean`."""
        return PerImageResults(**self.ask(self._judged, split, what, clean.images[: len(split)]))

    def predict(self, split: Split, what: str | None = None) -> np.ndarray:
        """Predicted classes int32 [N]."""
        return self.ask(self._classes, split, what)

    def ask(
        self, question: Callable, split: Split, what: str | None = None, *beside: np.ndarray
    ) -> Any:
        """`question(images, *beside)` of all images: an array [N, ...], or several in a dict.

        Compiled once for each question.
        """
        arrays = (split.images, *beside)
        if question not in self._answers:
            signature = [tf.TensorSpec([None, *array.shape[1:]], array.dtype) for array in arrays]
            self._answers[question] = tf.function(split_over_replicas(question)).get_concrete_function(
                *signature
            )
        answer = self._answers[question]
        return map_batches(
            lambda part: answer(*(tf.constant(array[part]) for array in arrays)),
            len(split),
            self.batch_size,
            what,
        )

    def attack(
        self,
        attack: Attack,
        split: Split,
        targets: np.ndarray | None = None,
        quiet: bool = False,
    ) -> Split:
        """The images of `split`, attacked; so that they are taken for `targets` [N], if there are any."""

        def craft(part: slice) -> tf.Tensor:
            aims = None if targets is None else tf.constant(targets[part], tf.int32)
            return attack(
                self.model,
                tf.constant(split.images[part]),
                tf.constant(split.labels[part]),
                targets=aims,
            )

        what = None if quiet else f"{attack.name} on {self.model.name}"
        images = map_batches(craft, len(split), self.batch_size, what)
        return dataclasses.replace(split, images=images)

    def _classes(self, images: tf.Tensor) -> tf.Tensor:
        return tf.argmax(self.model(images), -1, output_type=tf.int32)

    def _judged(self, images: tf.Tensor, clean: tf.Tensor) -> dict[str, tf.Tensor]:
        measured = {"perturbation": perturbation_norms(images - clean)}
        if hasattr(self.model, "defense"):
            purified, logits = self.model.defense.decide(self.model.classifier, images)
            measured["left"] = perturbation_norms(purified - clean)
        else:
            logits = self.model(images)
        return {**measured, "predicted": tf.argmax(logits, -1, output_type=tf.int32)}
