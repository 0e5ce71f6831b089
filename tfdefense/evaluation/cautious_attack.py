"""Adaptive attack on a pipeline whose output `suspicion` is watched: it also keeps suspicion low.

As in Carlini, Wagner, "Adversarial Examples Are Not Easily Detected", AISec 2017, section 3, a
further class stands for "detected", and the attack aims at a wrong class.
"""

import math

import numpy as np
import tensorflow as tf

from tfdefense.attacks import Attack, enable_stop_at_success
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import DefendedClassifier
from tfdefense.defenses.core.suspicion import SuspicionScale
from tfdefense.evaluation.attacked_images import AttackedImages
from tfdefense.evaluation.runner import ModelRunner

CLEAN_SHARE = 0.9  # The attack stays below this share of the clean images.
_LOGITS_PER_DOUBLING = 10  # A change of twice the limit costs as much as a classifier's margin.
_SMALLEST_LIMIT = 1e-6


class CautiousPipeline:
    """Pipeline with one more logit, the highest one where an image is too suspicious.

    An image is too suspicious if its change by purifying, or its detector score, exceeds that of
    `CLEAN_SHARE` of the clean images.

    Args:
      pipeline: pipeline of a defence.
      scale: values of the clean images.
    """

    def __init__(self, pipeline: DefendedClassifier, scale: SuspicionScale) -> None:
        self.pipeline = pipeline
        self.name = f"{pipeline.name}, suspicion included"
        change = float(np.quantile(scale.changes, CLEAN_SHARE))
        self._log_change = math.log(max(change, _SMALLEST_LIMIT))
        self._score = None
        if scale.scores is not None:
            self._score = float(np.quantile(scale.scores, CLEAN_SHARE))

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K + 1].

        Args:
          images: float32 [N, H, W, C] in [0, 1].
        """
        purified, logits = self.pipeline.purify_and_classify(images)
        squares = tf.reduce_sum(tf.square(purified - images), axis=(1, 2, 3))
        doublings = (0.5 * tf.math.log(squares + 1e-12) - self._log_change) / math.log(2)
        excess = _LOGITS_PER_DOUBLING * doublings
        if self._score is not None:
            score = self.pipeline.defense.detector_score(images)
            excess = tf.maximum(excess, tf.cast(score, excess.dtype) - self._score)
        suspected = tf.reduce_max(logits, axis=-1) + excess
        return tf.concat([logits, suspected[:, tf.newaxis]], axis=-1)


def attack_cautiously(
    runner: ModelRunner[DefendedClassifier], scale: SuspicionScale, attack: Attack, split: Split
) -> AttackedImages:
    """Return adversarial images that aim at the likeliest wrong class with a low suspicion.

    Args:
      runner: runs the pipeline.
      scale: scale of its suspicion.
      attack: attack that takes targets; an image keeps its first success.
      split: clean images.
    """
    cautious = ModelRunner(CautiousPipeline(runner.model, scale), runner.batch_size)
    targets = runner.likeliest_wrong_classes(split)
    return cautious.attack(enable_stop_at_success(attack), split, targets, show_progress=False)
