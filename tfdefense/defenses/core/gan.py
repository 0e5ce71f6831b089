"""What the GANs share: their optimizers, the step of a WGAN's critic, and the checks of hyperparameters."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from tfdefense.defenses.core.averaging_adam import AveragingAdam
from tfdefense.defenses.core.defense import hyperparameter
from tfdefense.errors import require
from tfdefense.networks.generator_factory import check_generator, make_generator
from tfdefense.networks.losses import gradient_penalty, wasserstein_critic_loss
from tfdefense.training.replica import Replica


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """What may be changed of a purifier's generator, beside the papers.

    Raises:
      UserError: an unknown network, or a number out of range.
    """

    generator: str = hyperparameter("encoder_decoder", "the paper's encoder_decoder, unet or small_unet")
    levels: int | None = hyperparameter(
        None, "how often the U-Net halves the image (default: down to one pixel)"
    )
    widths: tuple[int, ...] = hyperparameter(
        (32, 64, 128), "filters of a small_unet, from the full size down"
    )
    thresholds: int = hyperparameter(
        0,
        "learned thresholds that each pixel is held against before the generator sees it, such as 6; 0 for none, as in the"
        " papers",
    )
    average: float = hyperparameter(
        0.0,
        "momentum of a moving average of the generator's weights, such as 0.999, that takes their place at the end; less in"
        " the first steps; 0 for none, as in the paper",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        check_generator(self.generator, self.levels, self.widths, self.thresholds)
        usual = next(each.default for each in dataclasses.fields(self) if each.name == "widths")
        require(
            self.widths == usual or self.generator == "small_unet",
            f"--widths={','.join(map(str, self.widths))}: only --generator=small_unet has widths.",
        )
        average = self.average
        require(0 <= average < 1, f"--average={average}: 0 or more and below 1 needed.")

    def make_generator(self, image_shape: tuple[int, int, int]) -> keras.Model:
        """The network for images of [H, W, C], built."""
        return make_generator(
            self.generator, image_shape, self.levels, self.widths, self.thresholds
        )


def make_adam(
    network: keras.Model,
    config: Any,
    steps: int,
    betas: tuple[float, float] = (0.5, 0.999),
    average: float = 0.0,
) -> keras.optimizers.Adam:
    """Adam, built for `network`.

    Args:
      network: built.
      config: has `learning_rate` and `schedule` ("constant", or "cosine" to zero).
      steps: of the whole training.
      betas: as pix2pix and many GANs have them.
      average: momentum of a moving average of the weights, which it keeps; 0 for none.
    """
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = AveragingAdam(
        momentum=average, learning_rate=rate, beta_1=betas[0], beta_2=betas[1]
    )
    optimizer.build(network.trainable_variables)
    return optimizer


def update_critic(
    critic: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    real: tf.Tensor,
    fake: tf.Tensor,
    penalty_weight: float,
    replica: Replica,
) -> dict[str, tf.Tensor]:
    """One step on the critic's half of L_WGAN-GP (Gulrajani et al. 2017, equation (3)).

    Args:
      critic, optimizer: images -> scores [n], without anything that mixes examples.
      real, fake: images float32 [n, H, W, C].
      penalty_weight: of the gradient penalty.
      replica: takes the mean, and draws the points between real and fake.
    """
    fake = tf.stop_gradient(fake)
    with tf.GradientTape() as tape:
        # The critic treats every example alone, so one pass serves real and fake ones.
        scores = critic(tf.concat([real, fake], axis=0))
        wasserstein = replica.mean(wasserstein_critic_loss(*tf.split(scores, 2)))
        penalty = replica.mean(gradient_penalty(critic, real, fake, weights=replica.uniform()))
        loss = wasserstein + penalty_weight * penalty
    gradients = tape.gradient(loss, critic.trainable_variables)
    optimizer.apply(gradients, critic.trainable_variables)
    return {
        "loss_critic": loss,
        "wasserstein_estimate": -wasserstein,
        "gradient_penalty": penalty,
        "gradient_norm_critic": replica.gradient_norm(gradients),
    }


def copy_per_loss_term(tape: tf.GradientTape, images: tf.Tensor, count: int) -> list[tf.Tensor]:
    """`images` as often as there are terms of a loss, each with a gradient of its own for `summed`.

    The tape would add up three or more gradients in an order that depends on which of them is free first, and a run
    would not repeat to the last bit.
    """
    copies = [tf.identity(images) for _ in range(count)]
    tape.watch(copies)
    return copies


def sum_gradients(gradients: list[tf.Tensor]) -> tf.Tensor:
    """Their sum, always in this order."""
    return tf.reduce_sum(tf.stack(gradients), axis=0)


def check_strengths(config: Any) -> None:
    """Makes `config.strengths` a tuple; raises `UserError` unless all of them are in [0, 1]."""
    if config.strengths is None:
        return
    object.__setattr__(config, "strengths", tuple(config.strengths))
    require(len(config.strengths) > 0, "--strengths: at least one needed.")
    for strength in config.strengths:
        require(0 <= strength <= 1, f"--strengths: {strength} given, values in [0, 1] needed.")


def check_not_negative(config: Any, *names: str) -> None:
    """Raises `UserError` unless the weights of losses are zero or more."""
    for name in names:
        value = getattr(config, name)
        require(value >= 0, f"--{name}={value}: 0 or more needed.")


def check_learning_rate(config: Any) -> None:
    """Raises `UserError` for a learning rate or schedule that is none."""
    rate, schedule = config.learning_rate, config.schedule
    require(rate > 0, f"--learning_rate={rate}: more than 0 needed.")
    require(
        schedule in ("constant", "cosine"), f"--schedule={schedule}: constant or cosine needed."
    )
