"""The best weights of a training so far, by a score on held-out images."""

import keras
import numpy as np
import tensorflow as tf


class BestWeights:
    """Keeps a copy of a model's weights from when its validation score was highest.

    Its `variables` belong into the checkpoint, so that a resumed training knows them too.

    Args:
      model: built; its weights are copied when it does as well as ever, or better.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._copies = [tf.Variable(weight.value, trainable=False) for weight in model.weights]
        self._score = tf.Variable(-np.inf, trainable=False, dtype=tf.float32)
        self._stale = tf.Variable(0, trainable=False, dtype=tf.int64)

    @property
    def variables(self) -> list[tf.Variable]:
        return [self._score, self._stale, *self._copies]

    @property
    def score(self) -> float:
        """The highest score; -inf before the first one."""
        return float(self._score.numpy())

    @property
    def stale(self) -> int:
        """How many scores in a row were lower than the best one before them."""
        return int(self._stale.numpy())

    def update(self, score: float) -> None:
        """Takes note of the model's score as it is now."""
        if np.float32(score) < self._score.numpy():
            self._stale.assign_add(1)
            return
        self._score.assign(score)
        self._stale.assign(0)
        for copy, weight in zip(self._copies, self._model.weights, strict=True):
            copy.assign(weight.value)

    def restore(self) -> None:
        """Gives the model its best weights back; leaves it alone if it was never scored."""
        if np.isfinite(self.score):
            for copy, weight in zip(self._copies, self._model.weights, strict=True):
                weight.assign(copy)
