"""Learning rates as functions of the step."""

import math
from typing import Any

import keras
import tensorflow as tf

_RISE = 0.2


class Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises linearly from zero in the first 20 % of the steps and falls to zero.

    The "slanted triangular" or one-cycle schedule of Page, "How to Train Your ResNet", 2018, after
    Smith and Topin, "Super-Convergence", 2019.

    Args:
      peak: highest learning rate.
      steps: number of steps of the training, at least 1.
    """

    def __init__(self, peak: float, steps: int) -> None:
        super().__init__()
        self.peak = peak
        self.steps = steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the learning rate of a step, float32 []."""
        position = (tf.cast(step, tf.float32) + 1.0) / (self.steps + 1.0)
        falling = tf.maximum(0.0, (1.0 - position) / (1.0 - _RISE))
        return self.peak * tf.minimum(position / _RISE, falling)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "steps": self.steps}


def count_rising_steps(schedule: str, steps: int) -> int:
    """Return the number of first steps in which the learning rate rises.

    Args:
      schedule: "constant", "cosine" or "triangle".
      steps: number of steps of the training.
    """
    return math.ceil(_RISE * steps) if schedule == "triangle" else 0
