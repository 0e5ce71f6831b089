"""A purifier that is trained against an attacker who knows it: adversarial training of the purifier alone.

The classifier f is frozen and ordinary; the purifier G in front of it learns to withstand attacks on both together:

    min_G E max_{|delta| <= epsilon} [ CE(f(G(x + delta)), y) ] + lambda * MSE(G(x + delta), x) + mu * L_WGAN(G)

which is equation (2.1) of Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, with
theta = G; delta climbs the cross-entropy through f and G, as they are when they serve. Kin to Lin et al., "Adversarial
Training on Purification (AToP)", ICLR 2024, whose random transforms are `noise` and `mask`, here of attacked images and in
training alone; the other two terms are those of APE-GAN++, equation (1).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfdefense.attacks import Attack, Square
from tfdefense.attacks.core import per_image_random
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import hyperparameter
from tfdefense.defenses.core.gan import (
    GeneratorConfig,
    make_adam,
    check_learning_rate,
    check_not_negative,
    update_critic,
)
from tfdefense.defenses.core.inner_attack import InnerAttackConfig, make_inner_attack
from tfdefense.defenses.core.robust_validation import make_robust_validator
from tfdefense.defenses.core.trained_purifier import GeneratorDefense
from tfdefense.errors import require
from tfdefense.networks.critic import Critic
from tfdefense.networks.losses import cross_entropy, mean_squared_error, wasserstein_generator_loss
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers

_PENALTY_WEIGHT = 10.0
# Read by no attack: a stream in common would tie where an attack begins to whether an image gets it.
_PARTS_STREAM = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class RobustPurifierConfig(InnerAttackConfig, GeneratorConfig):
    """Hyperparameters of the robust purifier."""

    inner_steps: int = hyperparameter(5, "steps of the inner attack, if that is pgd")
    inner_queries: int = hyperparameter(
        0,
        "queries of the square attack, which attacks every second image in place of the inner attack; 0 for none. Without it,"
        " the purifier may learn to hide its gradient",
    )
    ramp: float = hyperparameter(
        0.2, "share of the training over which the inner attack's radius grows from 0 to all of it"
    )
    mse_weight: float = hyperparameter(1.0, "weight of the squared error between purified and clean image")
    gan_weight: float = hyperparameter(
        0.0, "weight of a WGAN-GP critic's judgement, APE-GAN++'s; 0 for none"
    )
    noise: float = hyperparameter(
        0.0, "standard deviation of noise that is added to attacked images while it learns"
    )
    mask: float = hyperparameter(0.0, "share of pixels of attacked images that are hidden while it learns")
    generator: str = hyperparameter("small_unet", "small_unet, encoder_decoder or unet")
    widths: tuple[int, ...] = hyperparameter(
        (16, 32, 64, 128), "filters of a small_unet, from the full size down"
    )
    thresholds: int = hyperparameter(
        6, "learned thresholds that each pixel is held against first; 0 for none"
    )
    learning_rate: float = hyperparameter(1e-3, "Adam's")
    schedule: str = hyperparameter("cosine", "learning rate over time: cosine (to zero), or constant")
    clip: float = hyperparameter(1.0, "greatest norm of the gradient of a step; 0 for any")

    def __post_init__(self) -> None:
        InnerAttackConfig.__post_init__(self)
        GeneratorConfig.__post_init__(self)
        require(self.inner_queries >= 0, f"--inner_queries={self.inner_queries}: 0 or more needed.")
        for name in ("ramp", "mask"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"--{name}={value}: a number in [0, 1] needed.")
        check_not_negative(self, "mse_weight", "gan_weight", "noise", "clip")
        check_learning_rate(self)


class RobustPurifier(GeneratorDefense):
    """The purifier in front of (and trained with) one frozen classifier.

    Args:
      classifier: a Keras model or callable from images to logits; never changed.
      seed: initial weights.
      **hyperparameters: fields of `RobustPurifierConfig` in place of their defaults.
    """

    name = "robust_purifier"
    summary = "Purifier trained against PGD through itself and a frozen classifier (kin to Madry 2018, AToP 2024)"
    config_type = RobustPurifierConfig
    random_draws = 2_000  # Of its small U-Net one core does some 1,500 images a second.

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        config = self.config
        with seed_layers(seed):
            self.generator = config.make_generator(self.classifier.image_shape)
            if config.gan_weight:
                self.critic = Critic()
                self.critic.build((None, *self.classifier.image_shape))

    def attacked(self, images: tf.Tensor) -> tf.Tensor:
        """What the inner attack attacks: logits float32 [N, K] of images, with all that is done to them before."""
        return self.classifier(self.generator(self.before(images), training=False))

    def inner_attack(self, seed: int | tf.Tensor = 0, share: float | tf.Tensor = 1.0) -> Attack:
        """The attack of the inner maximisation, at a `share` of its radius."""
        return make_inner_attack(self.config, self.classifier.image_shape, seed, share)

    def prepare(self, steps: int) -> None:
        config = self.config
        self.generator_optimizer = make_adam(self.generator, config, steps, (0.9, 0.999), config.average)
        if config.gan_weight:
            self.critic_optimizer = make_adam(self.critic, config, steps)
        self._ramp_steps = max(1.0, config.ramp * steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        clean, labels = batch["clean"], batch["labels"]
        share = tf.minimum(1.0, tf.cast(replica.step + 1, tf.float32) / self._ramp_steps)
        attacked = self._attack(clean, labels, replica.step, share)
        attacked = self._transformed(self.before(attacked), replica)
        scalars = self._update_critic(clean, attacked, replica)
        with tf.GradientTape() as tape:
            purified = self.generator(attacked, training=True)
            logits = self.classifier(purified)
            classification = replica.mean(cross_entropy(labels, logits))
            squared_error = replica.mean(mean_squared_error(clean, purified))
            loss = classification + self.config.mse_weight * squared_error
            if self.config.gan_weight:
                adversarial = replica.mean(wasserstein_generator_loss(self.critic(purified)))
                loss += self.config.gan_weight * adversarial
                scalars["loss_adversarial"] = adversarial
        variables = self.generator.trainable_variables
        gradients = tape.gradient(loss, variables)
        clipped = replica.clip(gradients, self.config.clip)
        self.generator_optimizer.apply(clipped, variables)
        withstood = tf.argmax(logits, -1, output_type=tf.int32) == labels
        return {
            "loss": loss,
            "loss_classification": classification,
            "loss_mse": squared_error,
            **scalars,
            "accuracy_attacked": replica.mean(tf.cast(withstood, tf.float32)),
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def _attack(
        self, images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor, share: tf.Tensor
    ) -> tf.Tensor:
        """What the inner attack makes of images, and the square attack of every second of them, as a draw decides."""
        following = self.inner_attack(step, share)
        if not self.config.inner_queries:
            return following.traced_craft(self.attacked, images, labels, None).images
        asking = Square(
            epsilon=following.epsilon,
            norm=following.norm,
            queries=self.config.inner_queries,
            seed=step,
        )
        part = per_image_random.integers(
            per_image_random.image_keys(images, step), 2, _PARTS_STREAM
        )
        places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), part, 2)

        def crafted(attack: Attack, those: tf.Tensor) -> tf.Tensor:
            clean = tf.gather(images, those)
            # A small batch may fall to one part whole, and a convolution of no images fails.
            return tf.cond(
                tf.size(those) > 0,
                lambda: (
                    attack.traced_craft(self.attacked, clean, tf.gather(labels, those), None).images
                ),
                lambda: clean,
            )

        made = [
            crafted(attack, those)
            for attack, those in zip((following, asking), places, strict=True)
        ]
        attacked = tf.dynamic_stitch(places, made)
        return tf.ensure_shape(attacked, images.shape)

    def _update_critic(
        self, clean: tf.Tensor, attacked: tf.Tensor, replica: Replica
    ) -> dict[str, tf.Tensor]:
        if not self.config.gan_weight:
            return {}
        purified = self.generator(attacked, training=True)
        return update_critic(
            self.critic, self.critic_optimizer, clean, purified, _PENALTY_WEIGHT, replica
        )

    def _transformed(self, images: tf.Tensor, replica: Replica) -> tf.Tensor:
        """With the noise added and the pixels hidden that the purifier is to make good as well."""
        shape = self.classifier.image_shape
        if self.config.noise:
            images = images + self.config.noise * replica.normal(shape)
        if self.config.mask:
            # A normal number is above its own quantile as often as wanted.
            above = tf.sqrt(2.0) * tf.math.erfinv(1.0 - 2.0 * self.config.mask)
            hidden = replica.normal((*shape[:2], 1)) > above
            images = tf.where(hidden, 0.0, images)
        return tf.clip_by_value(images, 0.0, 1.0)

    def watch(self, validation: Split) -> Callable[[], tuple[dict, dict]]:
        return make_robust_validator(self.attacked, self.inner_attack(), validation, self.purify)
