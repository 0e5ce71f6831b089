"""Attacks, predictions and measurements of a model on many images."""

import warnings
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import tensorflow as tf

from tfdefense.attacks import Attack
from tfdefense.attacks.core import norms
from tfdefense.attacks.core.each_surrogate import surrogate_names
from tfdefense.attacks.core.model import Model
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.defenses.core.defense import DefendedClassifier
from tfdefense.defenses.core.suspicion import purifying_changes
from tfdefense.evaluation.attacked_images import COST_NAMES, AttackedImages, attacked_images
from tfdefense.evaluation.per_image_results import PerImageResults, perturbation_norms
from tfdefense.training.distribute.batching import map_batches, split_over_replicas
from tfdefense.utils.batch_size import fitting_batch_size


class RunnableModel(Model, Protocol):
    """Model with a name, such as a `FrozenClassifier` or a `DefendedClassifier`."""

    name: str


M = TypeVar("M", bound=RunnableModel, covariant=True)


class ModelRunner(Generic[M]):
    """Runs a model batch by batch on all devices and workers.

    Args:
      model: the model.
      batch_size: largest number of images in a batch; large images have smaller batches.
    """

    def __init__(self, model: M, batch_size: int = 250) -> None:
        self.model = model
        self.batch_size = batch_size
        self._compiled: dict[Callable, Callable] = {}

    def measure(
        self, split: Split, clean: Split, title: str | None = None, *, draw: int | None = None
    ) -> PerImageResults:
        """Return predictions, perturbation norms and the cost of the attack, if it is known.

        Args:
          split: images, clean or attacked.
          clean: split that begins with the clean images of `split`, in the same order.
          title: title of a progress bar; None shows none.
          draw: draw of a randomised defence (see `RandomizedDefense`); None leaves it to the model.
        """
        originals = clean.take(len(split)).images
        if draw is None:
            results = self.run_batches(self._measure, split, title, originals)
        else:
            draws = np.full(len(split), draw, np.uint32)
            results = self.run_batches(self._measure_draws, split, title, originals, draws)
        if not isinstance(split, AttackedImages):
            return PerImageResults(**results)
        names = np.array(split.surrogate_names) if split.surrogate_names else None
        return PerImageResults(**results, **split.costs(), surrogates=names)

    def predict(self, split: Split, title: str | None = None) -> np.ndarray:
        """Return the predicted classes int32 [N]."""
        return self.run_batches(self._predict, split, title)

    def likeliest_wrong_classes(self, split: Split) -> np.ndarray:
        """Return the class with the highest logit except the label, int32 [N]."""
        logits = self.run_batches(self.model, split)
        logits[np.arange(len(split)), split.labels] = -np.inf
        return np.argmax(logits, axis=-1).astype(np.int32)

    def run_batches(
        self,
        function: Callable,
        split: Split,
        title: str | None = None,
        *others: np.ndarray | DiskArray,
    ) -> Any:
        """Return `function(images, *others)` for all images of a split.

        The function is compiled once and may be called for other splits of the same image shape.

        Args:
          function: maps tensors [N, ...] to a tensor [N, ...] or a structure of such tensors.
          split: the images.
          title: title of a progress bar; None shows none.
          *others: further arrays [N, ...] that are batched with the images.

        Returns:
          NumPy arrays [N, ...] in the structure that the function returns.
        """
        arrays = (split.images, *others)
        if function not in self._compiled:
            signature = [tf.TensorSpec([None, *array.shape[1:]], array.dtype) for array in arrays]
            self._compiled[function] = tf.function(
                split_over_replicas(function), autograph=False
            ).get_concrete_function(*signature)
        compiled = self._compiled[function]
        return map_batches(
            lambda part: compiled(*(tf.constant(array[part]) for array in arrays)),
            len(split),
            self.fitting_batch_size(split),
            title,
        )

    def attack(
        self,
        attack: Attack,
        split: Split,
        targets: np.ndarray | None = None,
        *,
        show_progress: bool = True,
    ) -> AttackedImages:
        """Return the images of `split` after an attack on the model, and the cost of each.

        Args:
          attack: the attack.
          split: clean images and true classes.
          targets: classes int32 [N] that the attack aims at; None means any wrong class.
          show_progress: whether to show a progress bar.
        """

        def craft(part: slice) -> dict[str, tf.Tensor]:
            aims = None if targets is None else tf.constant(targets[part], tf.int32)
            images, labels = tf.constant(split.images[part]), tf.constant(split.labels[part])
            with warnings.catch_warnings():
                # The attack warns of images without a gradient, which a check of the report covers.
                warnings.simplefilter("ignore")
                result = attack.run(self.model, images, labels, aims)
            return {name: getattr(result, name) for name in ("images", *COST_NAMES)}

        title = f"{attack.name} on {self.model.name}" if show_progress else None
        results = map_batches(craft, len(split), self.fitting_batch_size(split), title)
        names = surrogate_names(attack, self.model, split.image_shape)
        return attacked_images(split, results.pop("images"), results, names)

    def fitting_batch_size(self, split: Split) -> int:
        """Return the number of images in a batch of a split."""
        return fitting_batch_size(split.image_shape, self.batch_size)

    def _predict(self, images: tf.Tensor) -> tf.Tensor:
        return tf.argmax(self.model(images), -1, output_type=tf.int32)

    def _measure(self, images: tf.Tensor, clean: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._measure_draws(images, clean, None)

    def _measure_draws(
        self, images: tf.Tensor, clean: tf.Tensor, draws: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        results = {
            "perturbation": perturbation_norms(images - clean),
            "changed_pixels": norms.l0(images - clean),
        }
        if isinstance(self.model, DefendedClassifier):
            purified, logits = self.model.purify_and_classify(images, draws)
            results["left"] = perturbation_norms(purified - clean)
            results |= purifying_changes(self.model.classifier, images, purified, logits)
        else:
            logits = self.model(images)
        return {**results, "predicted": tf.argmax(logits, -1, output_type=tf.int32)}
