"""APE-GAN: a GAN that turns adversarial images back into clean ones.

Shen, Jin, Gao, Zhang, "APE-GAN: Adversarial Perturbation Elimination with GAN", 2017 (ICASSP 2019),
section 3.2.2. The generator G turns an adversarial image x' of a clean image x into G(x'); D is the
discriminator. Losses:

    L_G = 0.7 ||x - G(x')||^2 - 0.3 log D(G(x'))
    L_D = -log D(x) - log(1 - D(G(x')))

The squared error is a mean over pixels and channels here. Algorithm, for each batch: draw FGSM
examples x' of one strength, then update D on L_D and G on L_G.

If the discriminator wins, its loss goes to zero and -log D(G(x')) grows without bound. APE-GAN++
avoids that.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfdefense.defenses.core.generator_defense import GeneratorConfig
from tfdefense.defenses.core.hyperparameters import (
    SCHEDULE_HELP,
    check_learning_rate,
    check_not_negative,
    check_strengths,
    hyperparameter,
)
from tfdefense.defenses.core.optimizer import make_adam
from tfdefense.defenses.core.pair_trained_purifier import PairTrainedPurifier
from tfdefense.networks.critic import Critic
from tfdefense.networks.losses import (
    gan_discriminator_loss,
    gan_generator_loss,
    mean_squared_error,
)
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers


@dataclasses.dataclass(frozen=True)
class APEGANConfig(GeneratorConfig):
    """Hyperparameters of APE-GAN. Loss weights and learning rate are the paper's."""

    strengths: tuple[float, ...] | None = hyperparameter(
        None, "FGSM epsilons to train on (default: 0.3 alone for grey images, 0.03 for colour)"
    )
    mse_weight: float = hyperparameter(0.7, "weight of the squared error")
    adversarial_weight: float = hyperparameter(0.3, "weight of -log D")
    learning_rate: float = hyperparameter(2e-4, "Adam's, of generator and discriminator")
    schedule: str = hyperparameter("constant", SCHEDULE_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_strengths(self)
        check_not_negative(self, "mse_weight", "adversarial_weight")
        check_learning_rate(self)


class APEGAN(PairTrainedPurifier):
    """The purifier of the paper, in front of one classifier.

    Args:
      classifier: guarded classifier. The generator learns from its FGSM examples; its logits are not
        part of the loss.
      seed: seed of the initial weights of generator and discriminator.
      **hyperparameters: values of fields of `APEGANConfig`.
    """

    name = "apegan"
    summary = "GAN purifier with squared error (Shen et al. 2017)"
    config_type = APEGANConfig
    config: APEGANConfig

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        image_shape = self.classifier.image_shape
        with seed_layers(seed):
            self.generator = self.config.make_generator(image_shape)
            # The score of the network is a logit here.
            self.discriminator = Critic(name="discriminator")
            self.discriminator.build((None, *image_shape))

    @property
    def strengths(self) -> tuple[float, ...]:
        return self.config.strengths or ((0.3,) if self.has_grey_images else (0.03,))

    def prepare(self, steps: int) -> None:
        self.generator_optimizer = make_adam(
            self.generator, self.config, steps, average=self.config.average
        )
        self.discriminator_optimizer = make_adam(self.discriminator, self.config, steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        pairs, config = self.draw_pairs(batch, replica), self.config
        clean = pairs["clean"]
        with tf.GradientTape() as tape:
            purified = self.generator(pairs["adversarial"], training=True)
            logits = self.discriminator(purified)
            squared_error = replica.mean(mean_squared_error(clean, purified))
            adversarial_loss = replica.mean(gan_generator_loss(logits))
            loss = (  # L_G
                config.mse_weight * squared_error + config.adversarial_weight * adversarial_loss
            )
        discriminator_scalars = self._update_discriminator(clean, purified, replica)
        variables = self.generator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.generator_optimizer.apply(gradients, variables)
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
        """Update the discriminator once on L_D and return its scalars."""
        purified = tf.stop_gradient(purified)
        with tf.GradientTape() as tape:
            logits = self.discriminator(tf.concat([clean, purified], axis=0))
            clean_logits, purified_logits = tf.split(logits, 2)
            loss = replica.mean(gan_discriminator_loss(clean_logits, purified_logits))  # L_D
        variables = self.discriminator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.discriminator_optimizer.apply(gradients, variables)
        return {
            "loss_discriminator": loss,
            "discriminator_real": replica.mean(tf.sigmoid(clean_logits)),
            "discriminator_fake": replica.mean(tf.sigmoid(purified_logits)),
            "gradient_norm_discriminator": replica.gradient_norm(gradients),
        }
