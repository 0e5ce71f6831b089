"""Grey-box validation of a purifier during training: accuracies and a picture for TensorBoard."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfdefense.attacks import BIM, default_epsilon
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray, empty_array
from tfdefense.defenses.core.adversarial_pairs import apply_fgsm, make_fgsm_pairs
from tfdefense.defenses.core.defense import Defense
from tfdefense.training.distribute.batching import iterate_batches, map_batches
from tfdefense.training.summaries import GRID_IMAGES, image_grid
from tfdefense.training.task import VALIDATION_IMAGES, ImageGrids, Scalars
from tfdefense.utils.batch_size import fitting_batch_size


class PurifierValidator:
    """Accuracy of the pipeline on clean images, FGSM examples and BIM examples.

    All attacks are on the guarded classifier alone, which does not change, so their images are
    computed once.

    Args:
      defense: defence that is being trained.
      split: held-out clean images, of which up to 500 are used.
      strengths: epsilons of the FGSM examples. BIM has the default epsilon of reports.

    Attributes:
      batch_size: number of images in a batch.
    """

    def __init__(self, defense: Defense, split: Split, strengths: tuple[float, ...]) -> None:
        self.defense = defense
        self.strengths = strengths
        few = split.take(VALIDATION_IMAGES)
        self.fgsm_pairs = make_fgsm_pairs(defense.classifier, few)
        attack = BIM(epsilon=default_epsilon(split.image_shape))
        self.batch_size = fitting_batch_size(split.image_shape, len(few))
        images = empty_array(few.images.shape, np.float32)
        batches = iterate_batches(
            lambda part: attack(defense.classifier, few.images[part], few.labels[part]),
            len(few),
            self.batch_size,
            f"BIM examples of {split.dataset}",
        )
        for part, values in batches:
            images[part] = values
        no_direction = np.broadcast_to(np.int8(0), few.images.shape)  # It takes one byte of memory.
        self._bim_pairs = {"clean": images, "labels": few.labels, "direction": no_direction}
        self._bim_name = f"accuracy_bim_{attack.epsilon:.3g}"
        self._pipeline = defense.defend()
        self._is_correct = tf.function(
            self._compute_correct, autograph=False, reduce_retracing=True
        )

    def __call__(self) -> tuple[Scalars, ImageGrids]:
        scalars = {"accuracy_clean": self._accuracy(self.fgsm_pairs, 0.0)}
        for strength in self.strengths:
            scalars[f"accuracy_fgsm_{strength:g}"] = self._accuracy(self.fgsm_pairs, strength)
        scalars[self._bim_name] = self._accuracy(self._bim_pairs, 0.0)
        return scalars, {"clean_then_adversarial_and_purified": self._image_grid()}

    def _image_grid(self) -> np.ndarray:
        few = {name: array[:GRID_IMAGES] for name, array in self.fgsm_pairs.items()}
        rows = [few["clean"], self.defense.purify(few["clean"])]
        for strength in self.strengths:
            adversarial = apply_fgsm(few, strength)
            rows += [adversarial, self.defense.purify(adversarial)]
        return image_grid(rows)

    def _accuracy(self, pairs: Mapping[str, np.ndarray | DiskArray], strength: float) -> float:
        def is_correct(part: slice) -> tf.Tensor:
            batch = {name: array[part] for name, array in pairs.items()}
            return self._is_correct(batch, tf.constant(strength))

        return float(np.mean(map_batches(is_correct, len(pairs["labels"]), self.batch_size)))

    def _compute_correct(self, batch: Mapping[str, tf.Tensor], strength: tf.Tensor) -> tf.Tensor:
        logits = self._pipeline(apply_fgsm(batch, strength))
        return tf.argmax(logits, -1, output_type=tf.int32) == batch["labels"]
