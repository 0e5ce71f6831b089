"""Conditional GAN: translates adversarial images into clean ones, as pix2pix does.

Yu, Wang, Fang, Zhang, "The Defense of Adversarial Example with Conditional Generative Adversarial
Networks", Security and Communication Networks, 2020, section 4.3. The generator G turns an
adversarial image x of a clean image y into G(x); the discriminator D sees pairs; f is the target
model, here with the loss on the label. Losses:

    L_cGAN  = E[log D(x, y)] + E[log(1 - D(x, G(x)))]                          (7)
    L_L1    = E[|y - G(x)|_1]                                                  (8)
    G*      = arg min_G max_D L_cGAN(G, D) + lambda L_L1(G)                    (9)
    L_adv^f = E[L_f(G(x), y)]                                                  (10)
    G*      = arg min_G max_D L_cGAN(G, D) + lambda L_L1(G) + mu L_adv^f       (11)

mu = 0 turns (11) into (9). Networks, optimizer and learning rate are those of pix2pix (Isola, Zhu,
Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017), which
also replaces the generator's log(1 - D) by -log D. Algorithm, for each batch:

    1. Draw x: FGSM examples of f.
    2. Update D on half of (7).
    3. Update G on (11).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.generator_defense import GeneratorConfig
from tfdefense.defenses.core.hyperparameters import (
    SCHEDULE_HELP,
    check_learning_rate,
    check_not_negative,
    check_strengths,
    hyperparameter,
)
from tfdefense.defenses.core.loss_terms import copy_per_loss_term, sum_gradients
from tfdefense.defenses.core.optimizer import make_adam
from tfdefense.defenses.core.pair_trained_purifier import PairTrainedPurifier
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
    """Hyperparameters of the conditional GAN. Learning rate and `l1_weight` are pix2pix's."""

    strengths: tuple[float, ...] | None = hyperparameter(
        None,
        "FGSM epsilons to train on (default: the paper's 0.15 for grey images, 0.1 for colour)",
    )
    l1_weight: float = hyperparameter(
        100.0, "lambda of equation (11), weight of the absolute error"
    )
    target_weight: float = hyperparameter(
        1.0, "mu of equation (11), weight of the classifier's loss; 0 gives equation (9)"
    )
    generator: str = hyperparameter(
        "unet", "the paper's unet, encoder_decoder, small_unet or residual_unet"
    )
    learning_rate: float = hyperparameter(2e-4, "Adam's, of generator and discriminator")
    schedule: str = hyperparameter("constant", SCHEDULE_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_strengths(self)
        check_not_negative(self, "l1_weight", "target_weight")
        check_learning_rate(self)


class ConditionalGAN(PairTrainedPurifier):
    """The purifier of the paper, in front of the classifier that it is trained with.

    Args:
      classifier: the target model f: a Keras model or a callable from images to logits. It is never
        changed.
      seed: seed of the initial weights of generator and discriminator.
      **hyperparameters: values of fields of `ConditionalGANConfig`.
    """

    name = "cgan"
    summary = "pix2pix from adversarial to clean images: U-Net and PatchGAN (Yu et al. 2020)"
    config_type = ConditionalGANConfig
    config: ConditionalGANConfig
    # One CPU core computes about 550 images a second.
    budget = EvaluationBudget(random_perturbations=1_000)

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        image_shape = self.classifier.image_shape
        with seed_layers(seed):
            self.generator = self.config.make_generator(image_shape)
            self.discriminator = PatchGAN()
            self.discriminator.build((None, *image_shape))

    @property
    def strengths(self) -> tuple[float, ...]:
        return self.config.strengths or ((0.15,) if self.has_grey_images else (0.1,))

    def prepare(self, steps: int) -> None:
        self.generator_optimizer = make_adam(
            self.generator, self.config, steps, average=self.config.average
        )
        self.discriminator_optimizer = make_adam(self.discriminator, self.config, steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        pairs = self.draw_pairs(batch, replica)
        # G(x) is computed once, for both updates.
        with tf.GradientTape() as generator_tape:
            purified = self.generator(pairs["adversarial"], training=True)
        discriminator_scalars = self._update_discriminator(pairs, purified, replica)
        loss_gradient, generator_scalars = self._generator_loss(pairs, purified, replica)
        variables = self.generator.trainable_variables
        gradients = generator_tape.gradient(purified, variables, output_gradients=loss_gradient)
        self.generator_optimizer.apply(gradients, variables)
        return {
            **generator_scalars,
            **discriminator_scalars,
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def _update_discriminator(
        self, pairs: Mapping[str, tf.Tensor], purified: tf.Tensor, replica: Replica
    ) -> dict[str, tf.Tensor]:
        """Update D once on the pairs (x, y) and (x, G(x)) and return its scalars."""
        adversarial, clean = pairs["adversarial"], pairs["clean"]
        purified = tf.stop_gradient(purified)
        with tf.GradientTape() as tape:
            # In two calls, so that batch normalisation does not mix clean and purified images.
            clean_logits = self.discriminator(adversarial, clean, training=True)
            purified_logits = self.discriminator(adversarial, purified, training=True)
            # Equation (7), halved as in pix2pix, so that D learns more slowly than G.
            loss = 0.5 * replica.mean(gan_discriminator_loss(clean_logits, purified_logits))
        variables = self.discriminator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.discriminator_optimizer.apply(gradients, variables)
        return {
            "loss_discriminator": loss,
            "gradient_norm_discriminator": replica.gradient_norm(gradients),
        }

    def _generator_loss(
        self, pairs: Mapping[str, tf.Tensor], purified: tf.Tensor, replica: Replica
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Return the gradient of equation (11) with respect to G(x), [n, H, W, C], and scalars."""
        clean, labels, config = pairs["clean"], pairs["labels"], self.config
        # Only the images are watched: discriminator and classifier get no gradients here.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for_discriminator, for_error, for_classifier = copy_per_loss_term(tape, purified, 3)
            patch_logits = self.discriminator(
                pairs["adversarial"], for_discriminator, training=True
            )
            logits = self.classifier(for_classifier)
            adversarial_loss = replica.mean(gan_generator_loss(patch_logits))  # (7)
            absolute_error = replica.mean(mean_absolute_error(clean, for_error))  # (8)
            classification = replica.mean(cross_entropy(labels, logits))  # (10)
            loss = (  # (11)
                adversarial_loss
                + config.l1_weight * absolute_error
                + config.target_weight * classification
            )
        gradient = sum_gradients(
            tape.gradient(loss, [for_discriminator, for_error, for_classifier])
        )
        correct = tf.argmax(logits, -1, output_type=tf.int32) == labels
        return gradient, {
            "loss_generator": loss,
            "loss_adversarial": adversarial_loss,
            "loss_l1": absolute_error,
            "loss_classification": classification,
            "accuracy": replica.mean(tf.cast(correct, tf.float32)),
        }
