"""Adam that keeps a moving average of the weights, and of a short training forgets the untrained ones."""

from typing import Any

import keras
import tensorflow as tf


class AveragingAdam(keras.optimizers.Adam):
    """Adam with Keras' moving average, whose momentum after t steps is min(momentum, (1 + t) / (10 + t)).

    As that of `tf.train.ExponentialMovingAverage` with `num_updates`. A constant momentum m leaves m^t of the first weights after t
    steps: of 0.999 and 2,265 steps a tenth, with which a purifier that withstood 96.8 % of PGD's images withstood 66.8 (n = 500).

    Args:
      momentum: of the average; 0 for none.
      **options: Adam's.
    """

    def __init__(self, *, momentum: float, **options: Any) -> None:
        super().__init__(**options, use_ema=momentum > 0)
        self._momentum = momentum

    @property
    def ema_momentum(self) -> tf.Tensor:
        """The momentum of this step, float32 []."""
        steps = tf.cast(self.iterations, tf.float32)
        return tf.minimum(self._momentum, (1.0 + steps) / (10.0 + steps))

    @ema_momentum.setter
    def ema_momentum(self, value: float) -> None:
        """Keras sets its own, which is not used."""
