"""The conditional GAN: adversarial images are translated into clean ones, as pix2pix does.

Yu, Wang, Fang, Zhang, "The Defense of Adversarial Example with Conditional Generative Adversarial
Networks", Security and Communication Networks, 2020. Its whole is equation (11):

    G* = arg min_G max_D L_cGAN(G, D) + lambda * L_L1(G) + mu * L_adv^f

with (7), (8) and (10); mu = 0 gives (9). Networks and optimizer are pix2pix's (Isola et al. 2017).
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
    sum_gradients,
    copy_per_loss_term,
)
from tfdefense.defenses.core.trained_purifier import PairTrainedPurifier
from tfdefense.networks.losses import (
    cross_entropy,
    gan_discriminator_loss,
    gan_generator_loss,
    mean_absolute_error,
)
from tfdefense.networks.patch_gan import PatchGAN
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers


@dataclasses.dataclass(frozen=True)
class ConditionalGANConfig(GeneratorConfig):
    """Hyperparameters of the conditional GAN; learning rate and `l1_weight` are pix2pix's."""

    strengths: tuple[float, ...] | None = hyperparameter(
        None,
        "FGSM epsilons to train on (default: the paper's 0.15 for grey images, 0.1 for colour)",
    )
    l1_weight: float = hyperparameter(100.0, "lambda of equation (11), weight of the absolute error")
    target_weight: float = hyperparameter(
        1.0, "mu of equation (11), weight of the classifier's loss; 0 gives equation (9)"
    )
    generator: str = hyperparameter("unet", "the paper's unet, encoder_decoder or small_unet")
    learning_rate: float = hyperparameter(2e-4, "Adam's, of generator and discriminator")
    schedule: str = hyperparameter("constant", "learning rate over time: constant, or cosine (to zero)")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_strengths(self)
        check_not_negative(self, "l1_weight", "target_weight")
        check_learning_rate(self)


class ConditionalGAN(PairTrainedPurifier):
    """The purifier of the paper, in front of (and trained with) one classifier.

    Args:
      classifier: the target model f: a Keras model or callable from images to logits; never changed.
      seed: initial weights of generator and discriminator.
      **hyperparameters: fields of `ConditionalGANConfig` in place of their defaults.
    """

    name = "cgan"
    summary = "pix2pix from adversarial to clean images: U-Net and PatchGAN (Yu et al. 2020)"
    config_type = ConditionalGANConfig
    random_draws = 1_000  # Of its U-Net one core does some 550 images a second.

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        with seed_layers(seed):
            self.generator = self.config.make_generator(self.classifier.image_shape)
            self.discriminator = PatchGAN()
            self.discriminator.build((None, *self.classifier.image_shape))

    @property
    def strengths(self) -> tuple[float, ...]:
        return self.config.strengths or ((0.15,) if self.is_grey else (0.1,))

    def prepare(self, steps: int) -> None:
        self.generator_optimizer = make_adam(
            self.generator, self.config, steps, average=self.config.average
        )
        self.discriminator_optimizer = make_adam(self.discriminator, self.config, steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        adversarial = self.adversarial(batch, replica)
        # The generator runs once; both updates use what it gave.
        with tf.GradientTape() as generator_tape:
            purified = self.generator(adversarial, training=True)
        discriminator_scalars = self._update_discriminator(
            adversarial, batch["clean"], purified, replica
        )
        loss_gradient, generator_scalars = self._generator_loss(
            batch, adversarial, purified, replica
        )
        gradients = generator_tape.gradient(
            purified, self.generator.trainable_variables, output_gradients=loss_gradient
        )
        self.generator_optimizer.apply(gradients, self.generator.trainable_variables)
        return {
            **generator_scalars,
            **discriminator_scalars,
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def _update_discriminator(
        self, adversarial: tf.Tensor, clean: tf.Tensor, purified: tf.Tensor, replica: Replica
    ) -> dict[str, tf.Tensor]:
        """One step of max_D of equation (7), on the pairs (x, y) and (x, G(x))."""
        purified = tf.stop_gradient(purified)
        with tf.GradientTape() as tape:
            # Apart, because batch normalisation must not tell the real from the mixture.
            real = self.discriminator(adversarial, clean, training=True)
            fake = self.discriminator(adversarial, purified, training=True)
            # Halved, as in pix2pix, to slow it down against the generator.
            loss = 0.5 * replica.mean(gan_discriminator_loss(real, fake))
        variables = self.discriminator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.discriminator_optimizer.apply(gradients, variables)
        return {
            "loss_discriminator": loss,
            "gradient_norm_discriminator": replica.gradient_norm(gradients),
        }

    def _generator_loss(
        self,
        batch: Mapping[str, tf.Tensor],
        adversarial: tf.Tensor,
        purified: tf.Tensor,
        replica: Replica,
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Equation (11) and its gradient with respect to the purified images, [n, H, W, C]."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            judged, compared, classified = copy_per_loss_term(tape, purified, 3)
            scores = self.discriminator(adversarial, judged, training=True)
            logits = self.classifier(classified)
            adversarial_loss = replica.mean(gan_generator_loss(scores))
            absolute_error = replica.mean(mean_absolute_error(batch["clean"], compared))
            classification = replica.mean(cross_entropy(batch["labels"], logits))
            loss = (
                adversarial_loss
                + self.config.l1_weight * absolute_error
                + self.config.target_weight * classification
            )
        correct = tf.argmax(logits, -1, output_type=tf.int32) == batch["labels"]
        return sum_gradients(tape.gradient(loss, [judged, compared, classified])), {
            "loss_generator": loss,
            "loss_adversarial": adversarial_loss,
            "loss_l1": absolute_error,
            "loss_classification": classification,
            "accuracy": replica.mean(tf.cast(correct, tf.float32)),
        }
