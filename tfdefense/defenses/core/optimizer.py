"""Adam with a learning-rate schedule and a moving average of the weights."""

from typing import Any

import keras

from tfdefense.training.averaging_optimizers import AveragingAdam
from tfdefense.training.learning_rates import Triangle

GAN_BETAS = (0.5, 0.999)  # pix2pix (Isola et al. 2017) and many GANs since.
ADAM_BETAS = (0.9, 0.999)  # Kingma and Ba, ICLR 2015.


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
    optimizer = AveragingAdam(
        average=average,
        learning_rate=rate,
        beta_1=betas[0],
        beta_2=betas[1],
        weight_decay=getattr(config, "weight_decay", 0.0) or None,
    )
    optimizer.build(network.trainable_variables)
    return optimizer
