"""Copy of the weights with the best validation score."""

import keras
import numpy as np
import tensorflow as tf


class BestWeights:
    """Copy of a model's weights from the time of its highest validation score.

    Its `variables` belong in the checkpoint, so that a resumed training continues with them.

    Args:
      model: a built model. Its weights are copied when its score is at least the best score so far.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._copies = [tf.Variable(weight.value, trainable=False) for weight in model.weights]
        self._score = tf.Variable(-np.inf, trainable=False, dtype=tf.float32)
        self._scores_since_best = tf.Variable(0, trainable=False, dtype=tf.int64)

    @property
    def variables(self) -> list[tf.Variable]:
        """The state to store in a checkpoint."""
        return [self._score, self._scores_since_best, *self._copies]

    @property
    def score(self) -> float:
        """The highest score so far; -inf before the first one."""
        return float(self._score.numpy())

    @property
    def scores_since_best(self) -> int:
        """The number of scores since the best one that count; all of them are lower."""
        return int(self._scores_since_best.numpy())

    def update(self, score: float, *, counts: bool = True) -> None:
        """Copy the current weights if their score is not lower than the best score so far.

        Args:
          score: validation score of the current weights.
          counts: whether `scores_since_best` counts a lower score.
        """
        if not np.float32(score) >= self._score.numpy():  # Lower, or not a number.
            self._scores_since_best.assign_add(int(counts))
            return
        self._score.assign(score)
        self._scores_since_best.assign(0)
        for copy, weight in zip(self._copies, self._model.weights, strict=True):
            copy.assign(weight.value)

    def restore(self) -> None:
        """Set the model to its best weights; do nothing if there was no score yet."""
        if np.isfinite(self.score):
            for copy, weight in zip(self._copies, self._model.weights, strict=True):
                weight.assign(copy)
