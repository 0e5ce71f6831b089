"""Adam with a learning-rate schedule and a moving average of the weights."""

from typing import Any

import keras

from tfdefense.training.averaging_optimizers import AveragingAdam

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
      config: has `learning_rate` and `schedule` ("constant", or "cosine" to zero).
      steps: number of training steps.
      betas: decay rates of Adam's first and second moment.
      average: momentum of a moving average of the weights; 0 for none.
    """
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = AveragingAdam(average=average, learning_rate=rate, beta_1=betas[0], beta_2=betas[1])
    optimizer.build(network.trainable_variables)
    return optimizer
