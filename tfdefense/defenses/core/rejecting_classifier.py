"""A pipeline and its detector as one model, which attacks can aim at."""

import tensorflow as tf

from tfdefense.attacks.core.expectation import restart_draws
from tfdefense.defenses.core.defense import DefendedClassifier


class RejectingClassifier:
    """Pipeline with its detector: logits float32 [N, K + 1], the last one for "refused".

    The last logit is the highest exactly where the detector's score is above 0. An attack that aims
    at a wrong class therefore attacks detector and classifier together: Carlini, Wagner,
    "Adversarial Examples Are Not Easily Detected", AISec 2017, section 3.

    Args:
      pipeline: pipeline of a defence that detects.
    """

    def __init__(self, pipeline: DefendedClassifier) -> None:
        self.pipeline = pipeline
        self.name = f"{pipeline.name}, detector included"

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        logits = self.pipeline(images)
        score = self.pipeline.defense.detector_score(images)
        refused = tf.reduce_max(logits, axis=-1) + score
        return tf.concat([logits, refused[:, tf.newaxis]], axis=-1)

    def restart_draws(self) -> None:
        """Start the draws of the pipeline from the first one again, if it counts them."""
        restart_draws(self.pipeline)
