"""Adam with a learning-rate schedule and a moving average of the weights."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.training.learning_rates import Triangle

GAN_BETAS = (0.5, 0.999)  # pix2pix (Isola et al. 2017) and many GANs since.
ADAM_BETAS = (0.9, 0.999)  # Kingma and Ba, ICLR 2015.


class AveragingAdam(keras.optimizers.Adam):
    """Adam with Keras' moving average of the weights and a momentum that grows during training.

    After t steps the momentum is min(momentum, (1 + t) / (10 + t)), as in
    `tf.train.ExponentialMovingAverage` with `num_updates`. A constant momentum m keeps m^t of the
    initial weights: with momentum 0.999 and 2,265 steps, 10 % of them remain, and the accuracy of a
    purifier under PGD fell from 96.8 % to 66.8 % (n = 500).

    Args:
      momentum: upper bound of the momentum; 0 for no average.
      **options: arguments of `keras.optimizers.Adam`.
    """

    def __init__(self, *, momentum: float, **options: Any) -> None:
        super().__init__(**options, use_ema=momentum > 0)
        self._momentum = momentum

    @property
    def ema_momentum(self) -> tf.Tensor:
        """Momentum of this step, float32 []."""
        steps = tf.cast(self.iterations, tf.float32)
        return tf.minimum(self._momentum, (1.0 + steps) / (10.0 + steps))

    @ema_momentum.setter
    def ema_momentum(self, value: float) -> None:
        """Ignore the constant momentum that Keras' constructor sets."""


def make_adam(
    network: keras.Model,
    config: Any,
    steps: int,
    betas: tuple[float, float] = GAN_BETAS,
    average: float = 0.0,
) -> keras.optimizers.Adam:
    """Return Adam, built for the variables of `network`.

    Args:
      network: built network.
      config: has `learning_rate` and `schedule` ("constant", "cosine" to zero, or "triangle": see
        `Triangle`), and may have `weight_decay`, the share of each kernel that is subtracted per
        step and unit of learning rate (Loshchilov and Hutter, "Decoupled Weight Decay
        Regularization", ICLR 2019).
      steps: number of training steps.
      betas: decay rates of Adam's first and second moment.
      average: momentum of a moving average of the weights; 0 for none.
    """
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    elif config.schedule == "triangle":
        rate = Triangle(rate, steps)
    decay = getattr(config, "weight_decay", 0.0)
    optimizer = AveragingAdam(
        momentum=average,
        learning_rate=rate,
        beta_1=betas[0],
        beta_2=betas[1],
        weight_decay=decay or None,
    )
    if decay:
        optimizer.exclude_from_weight_decay(
            var_list=[
                variable for variable in network.trainable_variables if len(variable.shape) < 2
            ]
        )
    optimizer.build(network.trainable_variables)
    return optimizer
