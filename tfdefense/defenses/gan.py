"""What the GAN purifiers share: their optimizers, and the checks of their hyperparameters."""

from typing import Any

import keras

from tfdefense.errors import require


def adam(network: keras.Model, config: Any, steps: int) -> keras.optimizers.Adam:
    """Adam with betas 0.5 and 0.999, built for `network`.

    Args:
      network: built.
      config: has `learning_rate` and `schedule` ("constant", or "cosine" to zero).
      steps: of the whole training.
    """
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = keras.optimizers.Adam(rate, beta_1=0.5, beta_2=0.999)
    optimizer.build(network.trainable_variables)
    return optimizer


def check_strengths(config: Any) -> None:
    """Makes `config.strengths` a tuple; raises `UserError` unless all of them are in [0, 1]."""
    if config.strengths is None:
        return
    object.__setattr__(config, "strengths", tuple(config.strengths))
    require(len(config.strengths) > 0, "--strengths: at least one needed.")
    for strength in config.strengths:
        require(0 <= strength <= 1, f"--strengths: {strength} given, values in [0, 1] needed.")


def check_weights(config: Any, *names: str) -> None:
    """Raises `UserError` unless the weights of losses are zero or more."""
    for name in names:
        value = getattr(config, name)
        require(value >= 0, f"--{name}={value}: 0 or more needed.")


def check_rate(config: Any) -> None:
    """Raises `UserError` for a learning rate or schedule that is none."""
    rate, schedule = config.learning_rate, config.schedule
    require(rate > 0, f"--learning_rate={rate}: more than 0 needed.")
    require(
        schedule in ("constant", "cosine"), f"--schedule={schedule}: constant or cosine needed."
    )
