"""Robust purifier: adversarial training of a purifier in front of a frozen, ordinary classifier.

The inner maximisation is that of Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning
Models Resistant to Adversarial Attacks", ICLR 2018, equation (2.1), with the weights of the purifier
G as theta. The attack maximises the cross-entropy of the whole pipeline f(G(x)) in inference mode:

    min_G E max_{|delta| <= epsilon} [CE(f(G(x + delta)), y)]
        + mse_weight E ||G(x + delta) - x||^2 + gan_weight L_WGAN(G)

The last two terms are those of APE-GAN++, equation (1). Related: Lin et al., "Adversarial Training
on Purification (AToP)", ICLR 2024, whose random transforms are `noise` and `mask`; here they apply to
attacked images, in training only. Algorithm, for each batch:

    1. Attack f(G(x)); epsilon grows over the first part of the training. Optionally, a drawn half of
       the images is attacked by the square attack instead.
    2. With `gan_weight`, update the critic.
    3. Update G on the objective.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfdefense.attacks import Attack, Square
from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.attack import BoundedAttack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.generator_defense import GeneratorConfig, GeneratorDefense
from tfdefense.defenses.core.hyperparameters import (
    check_fraction,
    check_learning_rate,
    check_not_negative,
    hyperparameter,
)
from tfdefense.defenses.core.inner_attack import InnerAttackConfig, make_inner_attack
from tfdefense.defenses.core.optimizer import ADAM_BETAS, make_adam
from tfdefense.defenses.core.robust_validator import make_robust_validator
from tfdefense.defenses.core.wgan_gp import CriticTrainer
from tfdefense.errors import require
from tfdefense.networks.critic import Critic
from tfdefense.networks.losses import (
    cross_entropy,
    mean_squared_error,
    wasserstein_generator_loss,
)
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers
from tfdefense.training.task import Validate

_PENALTY_WEIGHT = 10.0
# Random stream that no attack uses: otherwise the attack of an image and its start would depend on
# each other.
_ATTACK_CHOICE_STREAM = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class RobustPurifierConfig(InnerAttackConfig, GeneratorConfig):
    """Hyperparameters of the robust purifier."""

    inner_steps: int = hyperparameter(5, "steps of the inner attack, if it is pgd")
    inner_queries: int = hyperparameter(
        0,
        "queries of the square attack, which replaces the inner attack for every second image; 0 for"
        " none. Without it, the purifier may learn to hide its gradient",
    )
    ramp: float = hyperparameter(
        0.2, "fraction of the training during which epsilon of the inner attack grows from 0"
    )
    mse_weight: float = hyperparameter(
        1.0, "weight of the squared error between purified and clean image"
    )
    gan_weight: float = hyperparameter(
        0.0, "weight of the loss from a WGAN-GP critic, as in APE-GAN++; 0 for none"
    )
    noise: float = hyperparameter(
        0.0, "standard deviation of noise that training adds to attacked images"
    )
    mask: float = hyperparameter(
        0.0, "fraction of pixels of attacked images that training sets to 0"
    )
    generator: str = hyperparameter("small_unet", "small_unet, encoder_decoder or unet")
    widths: tuple[int, ...] = hyperparameter(
        (16, 32, 64, 128), "filters of a small_unet at each resolution, the full one first"
    )
    thresholds: int = hyperparameter(
        6, "number of learned thresholds that each pixel is compared with first; 0 for none"
    )
    learning_rate: float = hyperparameter(1e-3, "Adam's")
    schedule: str = hyperparameter(
        "cosine", "learning rate over time: cosine (to zero), or constant"
    )
    clip: float = hyperparameter(1.0, "largest norm of the gradient of a step; 0 for no limit")

    def __post_init__(self) -> None:
        InnerAttackConfig.__post_init__(self)
        GeneratorConfig.__post_init__(self)
        queries = self.inner_queries
        require(queries >= 0, f"--inner_queries={queries}: 0 or more is needed.")
        check_fraction(self, "ramp", "mask")
        check_not_negative(self, "mse_weight", "gan_weight", "noise", "clip")
        check_learning_rate(self)


class RobustPurifier(GeneratorDefense):
    """The purifier in front of the frozen classifier that it is trained with.

    Args:
      classifier: a Keras model or a callable from images to logits. It is never changed.
      seed: seed of the initial weights.
      **hyperparameters: values of fields of `RobustPurifierConfig`.
    """

    name = "robust_purifier"
    summary = "Purifier trained against PGD through itself and a frozen classifier (Madry 2018, AToP 2024)"
    config_type = RobustPurifierConfig
    config: RobustPurifierConfig
    # One CPU core computes about 1,500 images a second.
    budget = EvaluationBudget(random_perturbations=2_000)

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        image_shape = self.classifier.image_shape
        with seed_layers(seed):
            self.generator = self.config.make_generator(image_shape)
            if self.config.gan_weight:
                self.critic = Critic()
                self.critic.build((None, *image_shape))

    def pipeline_logits(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K] of the pipeline, in inference mode, for the inner attack."""
        purified = self.generator(self.preprocess(images), training=False)
        return self.classifier(purified)

    def make_inner_attack(
        self, seed: int | tf.Tensor = 0, fraction: float | tf.Tensor = 1.0
    ) -> BoundedAttack:
        """Return the attack of the inner maximisation, at a fraction of its epsilon."""
        return make_inner_attack(self.config, self.classifier.image_shape, seed, fraction)

    def prepare(self, steps: int) -> None:
        config = self.config
        self.generator_optimizer = make_adam(
            self.generator, config, steps, ADAM_BETAS, config.average
        )
        if config.gan_weight:
            self.critic_optimizer = make_adam(self.critic, config, steps)
        self._ramp_steps = max(1.0, config.ramp * steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        batch = self.augment(batch, replica)
        clean, labels, config = batch["clean"], batch["labels"], self.config
        fraction = tf.minimum(1.0, tf.cast(replica.step + 1, tf.float32) / self._ramp_steps)
        attacked = self._attack(clean, labels, replica.step, fraction)
        attacked = self._transform(self.preprocess(attacked), replica)
        scalars = self._update_critic(clean, attacked, replica)
        with tf.GradientTape() as tape:
            purified = self.generator(attacked, training=True)
            logits = self.classifier(purified)
            classification = replica.mean(cross_entropy(labels, logits))
            squared_error = replica.mean(mean_squared_error(clean, purified))
            loss = classification + config.mse_weight * squared_error
            if config.gan_weight:
                adversarial = replica.mean(wasserstein_generator_loss(self.critic(purified)))
                loss += config.gan_weight * adversarial
                scalars["loss_adversarial"] = adversarial
        variables = self.generator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.generator_optimizer.apply(replica.clip(gradients, config.clip), variables)
        correct = tf.argmax(logits, -1, output_type=tf.int32) == labels
        return {
            "loss": loss,
            "loss_classification": classification,
            "loss_mse": squared_error,
            **scalars,
            "accuracy_attacked": replica.mean(tf.cast(correct, tf.float32)),
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def _attack(
        self, images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor, fraction: tf.Tensor
    ) -> tf.Tensor:
        """Return adversarial images, each by the inner attack or, by chance, by the square attack.

        The draw depends on the image and the step, so several replicas draw as one would.
        """
        inner = self.make_inner_attack(step, fraction)
        if not self.config.inner_queries:
            return inner.craft_in_graph(self.pipeline_logits, images, labels, None).images
        square = Square(
            epsilon=inner.epsilon,
            norm=inner.norm,
            queries=self.config.inner_queries,
            seed=step,
        )
        keys = per_image_random.image_keys(images, step)
        choice = per_image_random.integers(keys, 2, _ATTACK_CHOICE_STREAM)
        indices = tf.dynamic_partition(tf.range(tf.shape(images)[0]), choice, 2)

        def attack_selected(attack: Attack, selected: tf.Tensor) -> tf.Tensor:
            clean, true_labels = tf.gather(images, selected), tf.gather(labels, selected)
            # A convolution of no images fails.
            return tf.cond(
                tf.size(selected) > 0,
                lambda: (
                    attack.craft_in_graph(self.pipeline_logits, clean, true_labels, None).images
                ),
                lambda: clean,
            )

        adversarial = [
            attack_selected(attack, selected)
            for attack, selected in zip((inner, square), indices, strict=True)
        ]
        return tf.ensure_shape(tf.dynamic_stitch(indices, adversarial), images.shape)

    def _update_critic(
        self, clean: tf.Tensor, attacked: tf.Tensor, replica: Replica
    ) -> dict[str, tf.Tensor]:
        """Update the critic once, if there is one, and return its scalars."""
        if not self.config.gan_weight:
            return {}
        purified = self.generator(attacked, training=True)
        critic = CriticTrainer(self.critic, self.critic_optimizer, _PENALTY_WEIGHT)
        return critic.step(clean, purified, replica)

    def _transform(self, images: tf.Tensor, replica: Replica) -> tf.Tensor:
        """Return images with random noise and masked pixels."""
        shape = self.classifier.image_shape
        if self.config.noise:
            images = images + self.config.noise * replica.normal(shape)
        if self.config.mask:
            # Threshold z with P(N(0, 1) > z) = mask.
            threshold = tf.sqrt(2.0) * tf.math.erfinv(1.0 - 2.0 * self.config.mask)
            masked = replica.normal((*shape[:2], 1)) > threshold
            images = tf.where(masked, 0.0, images)
        return tf.clip_by_value(images, 0.0, 1.0)

    def make_validator(self, validation: Split) -> Validate:
        return make_robust_validator(
            self.pipeline_logits, self.make_inner_attack(), validation, self.purify
        )
