"""Robust purifier: adversarial training of a purifier in front of a frozen, ordinary classifier.

The inner maximisation is that of Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning
Models Resistant to Adversarial Attacks", ICLR 2018, equation (2.1), with the weights of the purifier
G as theta. The attack maximises the cross-entropy of the whole pipeline f(G(x)) in inference mode:

    min_G E max_{|delta| <= epsilon} [CE(f(G(x + delta)), y)]
        + mse_weight E ||G(x + delta) - x||^2 + gan_weight L_WGAN(G)
        + auxiliary_weight E CE(h(features of G(x + delta)), y)

The second and third term are those of APE-GAN++, equation (1). In the last one, h is a linear layer
on the generator's deepest features that is only used in training: the gradient that passes through
the frozen classifier alone teaches slowly. Related: Lin et al., "Adversarial Training on
Purification (AToP)", ICLR 2024, whose random transforms are `noise` and `mask`; here they apply to
attacked images, in training only. Algorithm, for each batch:

    1. Attack f(G(x)), through a surrogate gradient of the thresholds; epsilon grows over the first
       part of the training. Optionally, a drawn half of the images is attacked by the square attack
       instead.
    2. With `gan_weight`, update the critic.
    3. Update G on the objective.
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from tfdefense.attacks import Square
from tfdefense.attacks.core.bounded_attack import BoundedAttack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.generator_defense import GeneratorDefense
from tfdefense.defenses.core.inner_attack import (
    make_inner_attack,
    make_validation_attack,
)
from tfdefense.defenses.core.mixed_attack import craft_by_drawn_attack
from tfdefense.defenses.core.optimizer import ADAM_BETAS, make_adam
from tfdefense.defenses.core.probed_defense import ProbedDefense
from tfdefense.defenses.core.robust_purifier_config import COLOR_RECIPE, RobustPurifierConfig
from tfdefense.defenses.core.robust_validator import make_robust_validator
from tfdefense.defenses.core.wgan_gp import CriticTrainer
from tfdefense.networks.critic import Critic
from tfdefense.networks.losses import (
    cross_entropy,
    mean_squared_error,
    wasserstein_generator_loss,
)
from tfdefense.networks.pixel_thresholds import SURROGATES
from tfdefense.networks.surrogates import use_surrogates
from tfdefense.networks.upcast import upcast_bfloat16
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers
from tfdefense.training.task import Validate

_PENALTY_WEIGHT = 10.0
# Second half of the seed of drawn surrogates. The first is the number of the step, so trainings with
# other seeds draw the same surrogates, as they draw the same starts.
_SURROGATE_STREAM = 7
# The same for all trainings, so that their accuracies can be compared.
_VALIDATION_SURROGATE = SURROGATES.default


class RobustPurifier(ProbedDefense, GeneratorDefense):
    """The purifier in front of the frozen classifier that it is trained with.

    Args:
      classifier: a Keras model or a callable from images to logits. It is never changed.
      seed: seed of the initial weights.
      **hyperparameters: values of fields of `RobustPurifierConfig`.
    """

    name = "robust_purifier"
    summary = "Purifier trained against PGD through itself and a frozen classifier (Madry 2018, AToP 2024)"
    training_attributes = ("_ramp_steps",)
    config_type = RobustPurifierConfig
    config: RobustPurifierConfig
    recipes = MappingProxyType({"color": COLOR_RECIPE})
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
            if self.config.auxiliary_weight:
                self.auxiliary_head = keras.layers.Dense(self.classifier.num_classes)
                self.auxiliary_head.build((None, self.config.widths[-1]))

    def pipeline_logits(self, images: tf.Tensor, surrogate: str) -> tf.Tensor:
        """Return logits float32 [N, K] of the pipeline, in inference mode.

        Args:
          images: float32 [N, H, W, C].
          surrogate: name of the gradient of the thresholds.
        """
        with use_surrogates(surrogate):
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
        if config.auxiliary_weight:
            self.head_optimizer = make_adam(self.auxiliary_head, config, steps, ADAM_BETAS)
        self.prepare_probe(self.generator, self.generator_optimizer, steps)
        self._ramp_steps = max(1.0, config.ramp * steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        batch = self.augment(batch, replica)
        clean, labels, config = batch["clean"], batch["labels"], self.config
        fraction = tf.minimum(1.0, tf.cast(replica.step + 1, tf.float32) / self._ramp_steps)
        attacked = self._attack(clean, labels, replica.step, fraction)
        attacked = self._transform(self.preprocess(attacked), replica)
        scalars = self._update_critic(clean, attacked, replica)
        with tf.GradientTape() as tape:
            purified, features = self._purify_and_encode(attacked)
            logits = self.classifier(purified)
            classification = replica.mean(cross_entropy(labels, logits))
            squared_error = replica.mean(mean_squared_error(clean, purified))
            loss = classification + config.mse_weight * squared_error
            if config.gan_weight:
                adversarial = replica.mean(wasserstein_generator_loss(self.critic(purified)))
                loss += config.gan_weight * adversarial
                scalars["loss_adversarial"] = adversarial
            if config.auxiliary_weight:
                auxiliary = replica.mean(
                    cross_entropy(labels, upcast_bfloat16(self.auxiliary_head(features)))
                )
                loss += config.auxiliary_weight * auxiliary
                scalars["loss_auxiliary"] = auxiliary
        variables = self.generator.trainable_variables
        head = self.auxiliary_head.trainable_variables if config.auxiliary_weight else []
        gradients, head_gradients = tape.gradient(loss, [variables, head])
        self.generator_optimizer.apply(replica.clip(gradients, config.clip), variables)
        # The limit is for gradients that pass the frozen classifier. Those of head and critic do not.
        if config.auxiliary_weight:
            self.head_optimizer.apply(head_gradients, head)
        correct = tf.argmax(logits, -1, output_type=tf.int32) == labels
        return {
            "loss": loss,
            "loss_classification": classification,
            "loss_mse": squared_error,
            **scalars,
            "accuracy_attacked": replica.mean(tf.cast(correct, tf.float32)),
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def _purify_and_encode(self, attacked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return purified images, and the deepest features if there is an auxiliary loss."""
        if not self.config.auxiliary_weight:
            return self.generator(attacked, training=True), None
        if self.config.thresholds:
            thresholds, unet = self.generator.layers
            return unet.purify_and_encode(thresholds(attacked))
        return self.generator.purify_and_encode(attacked)

    def _attack(
        self, images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor, fraction: tf.Tensor
    ) -> tf.Tensor:
        """Return adversarial images, each by the inner attack or, by chance, by the square attack."""
        inner = self.make_inner_attack(step, fraction)
        if not self.config.inner_queries:
            return self._attack_through_surrogate(inner, images, labels, step)
        square = Square(
            epsilon=inner.epsilon,
            norm=inner.norm,
            queries=self.config.inner_queries,
            seed=step,
        )
        (surrogate,) = self.config.inner_surrogates
        model = functools.partial(self.pipeline_logits, surrogate=surrogate)
        return craft_by_drawn_attack((inner, square), model, images, labels, step)

    def _attack_through_surrogate(
        self, attack: BoundedAttack, images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """Return the images of `attack` through one surrogate gradient; `drawn` chooses it by `step`."""

        def craft(name: str) -> tf.Tensor:
            model = functools.partial(self.pipeline_logits, surrogate=name)
            return attack.craft_in_graph(model, images, labels, None).images

        branches = [functools.partial(craft, name) for name in self.config.inner_surrogates]
        if len(branches) == 1:
            return branches[0]()
        seed = tf.stack([tf.cast(step, tf.int64), _SURROGATE_STREAM])
        drawn = tf.random.stateless_uniform([], seed, 0, len(branches), tf.int32)
        return tf.switch_case(drawn, branches)

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
        attack = make_validation_attack(self.config, self.classifier.image_shape)
        model = functools.partial(self.pipeline_logits, surrogate=_VALIDATION_SURROGATE)
        return make_robust_validator(
            model, attack, validation, lambda images: self.purify(self.preprocess(images))
        )
