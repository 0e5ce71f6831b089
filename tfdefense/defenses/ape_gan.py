"""APE-GAN: a standard GAN that turns adversarial images back into clean ones.

Shen, Jin, Gao, Zhang, "APE-GAN: Adversarial Perturbation Elimination with GAN", 2017 (ICASSP 2019).
Generator: weighted squared error and -log D (section 3.2.2 there), weights 0.7 and 0.3; discriminator:
the cross-entropy of real against purified. It learns from one kind of adversarial example.

Where the discriminator wins, its loss goes to zero and -log D without bound: APE-GAN++ was made for that.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfdefense.defenses.core.defense import hyperparameter
from tfdefense.defenses.core.gan import (
    GeneratorConfig,
    make_adam,
    check_learning_rate,
    check_strengths,
    check_not_negative,
)
from tfdefense.defenses.core.trained_purifier import PairTrainedPurifier
from tfdefense.networks.critic import Critic
from tfdefense.networks.losses import gan_discriminator_loss, gan_generator_loss, mean_squared_error
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers


@dataclasses.dataclass(frozen=True)
class APEGANConfig(GeneratorConfig):
    """Hyperparameters of APE-GAN; weights and learning rate are the paper's."""

    strengths: tuple[float, ...] | None = hyperparameter(
        None, "FGSM epsilons to train on (default: 0.3 alone for grey images, 0.03 for colour)"
    )
    mse_weight: float = hyperparameter(0.7, "weight of the squared error")
    adversarial_weight: float = hyperparameter(0.3, "weight of -log D")
    learning_rate: float = hyperparameter(2e-4, "Adam's, of generator and discriminator")
    schedule: str = hyperparameter("constant", "learning rate over time: constant, or cosine (to zero)")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_strengths(self)
        check_not_negative(self, "mse_weight", "adversarial_weight")
        check_learning_rate(self)


class APEGAN(PairTrainedPurifier):
    """The purifier of the paper, in front of one classifier, which it never asks anything.

    Args:
      classifier: what is guarded; its FGSM examples are what the generator learns from.
      seed: initial weights of generator and discriminator.
      **hyperparameters: fields of `APEGANConfig` in place of their defaults.
    """

    name = "apegan"
    summary = "GAN purifier with squared error (Shen et al. 2017)"
    config_type = APEGANConfig

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        images = (None, *self.classifier.image_shape)
        with seed_layers(seed):
            self.generator = self.config.make_generator(self.classifier.image_shape)
            # Its score is a logit here.
            self.discriminator = Critic(name="discriminator")
            self.discriminator.build(images)

    @property
    def strengths(self) -> tuple[float, ...]:
        return self.config.strengths or ((0.3,) if self.is_grey else (0.03,))

    def prepare(self, steps: int) -> None:
        self.generator_optimizer = make_adam(
            self.generator, self.config, steps, average=self.config.average
        )
        self.discriminator_optimizer = make_adam(self.discriminator, self.config, steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        clean = batch["clean"]
        adversarial = self.adversarial(batch, replica)
        with tf.GradientTape() as tape:
            purified = self.generator(adversarial, training=True)
            logits = self.discriminator(purified)
            squared_error = replica.mean(mean_squared_error(clean, purified))
            adversarial_loss = replica.mean(gan_generator_loss(logits))
            loss = (
                self.config.mse_weight * squared_error
                + self.config.adversarial_weight * adversarial_loss
            )
        discriminator_scalars = self._update_discriminator(clean, purified, replica)
        gradients = tape.gradient(loss, self.generator.trainable_variables)
        self.generator_optimizer.apply(gradients, self.generator.trainable_variables)
        return {
            "loss_generator": loss,
            "loss_mse": squared_error,
            "loss_adversarial": adversarial_loss,
            "gradient_norm_generator": replica.gradient_norm(gradients),
            **discriminator_scalars,
        }

    def _update_discriminator(
        self, clean: tf.Tensor, purified: tf.Tensor, replica: Replica
    ) -> dict[str, tf.Tensor]:
        purified = tf.stop_gradient(purified)
        with tf.GradientTape() as tape:
            logits = self.discriminator(tf.concat([clean, purified], axis=0))
            real, fake = tf.split(logits, 2)
            loss = replica.mean(gan_discriminator_loss(real, fake))
        variables = self.discriminator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.discriminator_optimizer.apply(gradients, variables)
        return {
            "loss_discriminator": loss,
            "discriminator_real": replica.mean(tf.sigmoid(real)),
            "discriminator_fake": replica.mean(tf.sigmoid(fake)),
            "gradient_norm_discriminator": replica.gradient_norm(gradients),
        }
