"""Validation of a purifier with a detector: fractions of refused images, besides accuracies."""

import functools
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfdefense.attacks import default_epsilon
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.defenses.core.adversarial_pairs import apply_fgsm
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.purifier_validator import PurifierValidator
from tfdefense.training.distribute.batching import map_batches
from tfdefense.training.task import ImageGrids, Scalars


class DetectorValidator(PurifierValidator):
    """`PurifierValidator` that first calibrates the detector, and counts the images that it refuses.

    Args:
      defense: defence with a detector that is being trained.
      split: held-out clean images. `calibrate` may use all of them, the accuracies and the shares of
        refused images up to 500.
      calibrate: sets the thresholds of the detector.
    """

    def __init__(self, defense: Defense, split: Split, calibrate: Callable[[], None]) -> None:
        super().__init__(defense, split, (default_epsilon(split.image_shape),))
        self._calibrate = calibrate
        self._score = tf.function(defense.detector_score, autograph=False, reduce_retracing=True)

    def __call__(self) -> tuple[Scalars, ImageGrids]:
        self._calibrate()
        scalars, images = super().__call__()
        scalars["refused_clean"] = self._refused_fraction(_clean_images)
        for strength in self.strengths:
            scalars[f"refused_fgsm_{strength:g}"] = self._refused_fraction(
                functools.partial(apply_fgsm, epsilon=tf.constant(strength))
            )
        return scalars, images

    def _refused_fraction(
        self, make_images: Callable[[Mapping[str, np.ndarray | DiskArray]], tf.Tensor]
    ) -> float:
        def score(part: slice) -> tf.Tensor:
            batch = {name: array[part] for name, array in self.fgsm_pairs.items()}
            return self._score(make_images(batch))

        scores = map_batches(score, len(self.fgsm_pairs["labels"]), self.batch_size)
        return float(np.mean(scores > 0))


def _clean_images(batch: Mapping[str, np.ndarray | DiskArray]) -> tf.Tensor:
    return batch["clean"]
