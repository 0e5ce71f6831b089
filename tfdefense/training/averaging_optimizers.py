"""Optimizers with a moving average of the weights whose momentum grows during training."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_ALL_BUT_KERNELS = ["^(?!.*kernel)"]


class WeightAveraging(keras.optimizers.Optimizer):
    """Keras' moving average of the weights, as a base class in front of a Keras optimizer.

    After t steps the momentum is min(average, (1 + t) / (10 + t)), as in
    `tf.train.ExponentialMovingAverage` with `num_updates`. A constant momentum m keeps m^t of the
    initial weights: with momentum 0.999 and 2,265 steps, 10 % of them remain, and the accuracy of a
    purifier under PGD fell from 96.8 % to 66.8 % (n = 500).

    Weight decay, if the options ask for it, is that of kernels.

    Args:
      *arguments: arguments of the Keras optimizer.
      average: upper bound of the momentum; 0 for no average.
      **options: arguments of the Keras optimizer.
    """

    def __init__(self, *arguments: Any, average: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **options, use_ema=average > 0)
        self._largest_momentum = average
        if self.weight_decay:
            self.exclude_from_weight_decay(var_names=_ALL_BUT_KERNELS)

    @property
    def ema_momentum(self) -> tf.Tensor:
        """Momentum of this step, float32 []."""
        steps = tf.cast(self.iterations, tf.float32)
        return tf.minimum(self._largest_momentum, (1.0 + steps) / (10.0 + steps))

    @ema_momentum.setter
    def ema_momentum(self, value: float) -> None:
        """Ignore the constant momentum that Keras' constructor sets."""


class AveragingAdam(WeightAveraging, keras.optimizers.Adam):
    """`keras.optimizers.Adam` with `WeightAveraging`, and one operation for each variable.

    Keras uses a dozen operations for the same update (Kingma and Ba, ICLR 2015, algorithm 1), and
    each of them reads the variable. This class leaves to Keras: sparse gradients, AMSGrad, and
    variables that are not float32.
    """

    def update_step(
        self,
        gradient: tf.Tensor | tf.IndexedSlices,
        variable: keras.Variable | tf.Variable,
        learning_rate: tf.Tensor,
    ) -> None:
        """Update a variable and its two moments.

        Args:
          gradient: gradient by the variable, of its shape.
          variable: variable that the optimizer was built for.
          learning_rate: learning rate of this step, [].
        """
        is_sparse = isinstance(gradient, tf.IndexedSlices)
        if is_sparse or self.amsgrad or variable.dtype not in (tf.float32, "float32"):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        beta_1, beta_2 = tf.constant(self.beta_1), tf.constant(self.beta_2)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )


class AveragingSGD(WeightAveraging, keras.optimizers.SGD):
    """`keras.optimizers.SGD` with `WeightAveraging`."""


@contextlib.contextmanager
def use_averaged_weights(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> Iterator[None]:
    """Give a model its averaged weights in the block, and its last weights after it.

    Args:
      model: built network.
      optimizer: its optimizer, built; without `use_ema` nothing changes.
    """
    if not optimizer.use_ema:
        yield
        return
    variables = model.variables  # With the states of random generators.
    last = [np.array(variable) for variable in variables]
    try:
        optimizer.finalize_variable_values(model.trainable_variables)
        yield
    finally:
        for variable, value in zip(variables, last, strict=True):
            variable.assign(value)


def _handle(variable: keras.Variable | tf.Variable) -> tf.Tensor:
    """Return the resource handle of a variable."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
