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
from tfdefense.defenses.core.suspicion import (
    SMALLEST_DISAGREEMENT,
    SuspicionScale,
    total_variation_distances,
)
from tfdefense.evaluation.attacked_images import AttackedImages
from tfdefense.evaluation.runner import ModelRunner

CLEAN_SHARE = 0.9  # The attack stays below this share of the clean images.
_LOGITS_PER_DOUBLING = 10  # A change of twice the limit costs as much as a classifier's margin.
_SMALLEST_LIMIT = 1e-6


class CautiousPipeline:
    """Pipeline with one more logit, the highest one where an image is too suspicious.

    An image is too suspicious if one of its `suspicion_values` exceeds that of `CLEAN_SHARE` of the
    clean images.

    Args:
      pipeline: pipeline of a defence.
      scale: values of the clean images.
    """

    def __init__(self, pipeline: DefendedClassifier, scale: SuspicionScale) -> None:
        self.pipeline = pipeline
        self.name = f"{pipeline.name}, suspicion included"
        limits = {
            name: float(np.quantile(each, CLEAN_SHARE)) for name, each in scale.values.items()
        }
        self._change = max(limits["change"], _SMALLEST_LIMIT)
        self._disagreement = max(limits["disagreement"], SMALLEST_DISAGREEMENT)
        self._score = limits.get("score")

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K + 1].

        The first K are those of the pipeline. Their gradient is that of the mean with and without
        purifying, so that an attack moves both answers to its class.

        Args:
          images: float32 [N, H, W, C] in [0, 1].
        """
        purified, logits = self.pipeline.purify_and_classify(images)
        answer = tf.nn.log_softmax(logits)
        plain = tf.nn.log_softmax(self.pipeline.classifier(images))
        squares = tf.reduce_sum(tf.square(purified - images), axis=(1, 2, 3))
        # The root has no gradient at 0.
        change = 0.5 * _log2(squares + 1e-12) - _log2(self._change)
        parts = [_LOGITS_PER_DOUBLING * change, self._excess_disagreement(answer, plain)]
        if self._score is not None:
            score = self.pipeline.defense.detector_score(images)
            parts.append(tf.cast(score, change.dtype) - self._score)
        # A sum, so that each part that is too high has a gradient.
        total = tf.add_n([tf.nn.relu(each) for each in parts])
        excess = tf.where(total > 0, total, tf.reduce_max(tf.stack(parts), axis=0))
        both = 0.5 * (answer + plain)
        classes = both + tf.stop_gradient(answer - both)
        suspected = tf.reduce_max(classes, axis=-1) + excess
        return tf.concat([classes, suspected[:, tf.newaxis]], axis=-1)

    def _excess_disagreement(self, answer: tf.Tensor, plain: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N], above 0 where the classifier and the pipeline disagree too much.

        Their gradient is that of the relative entropy: where both answers are certain, the distance
        of the probabilities has none.

        Args:
          answer, plain: logarithms of the class probabilities with and without purifying [N, K].
        """
        doublings = _log2(total_variation_distances(plain, answer) + 1e-12) - _log2(
            self._disagreement
        )
        entropy = tf.reduce_sum(tf.exp(answer) * (answer - plain), axis=-1)
        return entropy + tf.stop_gradient(_LOGITS_PER_DOUBLING * doublings - entropy)


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


def _log2(values: tf.Tensor | float) -> tf.Tensor:
    return tf.math.log(values) / math.log(2)
