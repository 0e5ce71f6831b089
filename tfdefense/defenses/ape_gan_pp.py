"""APE-GAN++: a WGAN-GP purifier that also answers to the classifier it guards.

Yang, Chen, Cao, "APE-GAN++: An Improved APE-GAN to Eliminate Adversarial Perturbations", IAENG
International Journal of Computer Science, 2021. Its whole is equation (1):

    L = L_WGAN-GP + lambda1 * L_MSE + lambda2 * L_CLC

Expect it to hold against an attacker who knows the classifier only (grey box). One who knows the
purifier too, and attacks `defend(classifier)`, gets through.
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
    update_critic,
    copy_per_loss_term,
)
from tfdefense.defenses.core.trained_purifier import PairTrainedPurifier
from tfdefense.networks.critic import Critic
from tfdefense.networks.losses import cross_entropy, mean_squared_error, wasserstein_generator_loss
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers


@dataclasses.dataclass(frozen=True)
class APEGANPlusPlusConfig(GeneratorConfig):
    """Hyperparameters of APE-GAN++; the weights of the losses are the paper's (section IV.A)."""

    strengths: tuple[float, ...] | None = hyperparameter(
        None,
        "FGSM epsilons to train on, each in [0, 1] (default: 0.1,0.3,0.5,0.7 for grey images,"
        " 0.01,0.03,0.05,0.07 for colour)",
    )
    lambda1: float = hyperparameter(0.5, "weight of the squared error, equation (1)")
    lambda2: float = hyperparameter(0.5, "weight of the classification loss, equation (1)")
    penalty_weight: float = hyperparameter(10.0, "weight of the critic's gradient penalty")
    learning_rate: float = hyperparameter(1e-3, "Adam's, of generator and critic; the paper's is 2e-4")
    schedule: str = hyperparameter(
        "cosine", "learning rate over time: cosine (to zero), or constant, which is the paper's"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_strengths(self)
        check_not_negative(self, "lambda1", "lambda2", "penalty_weight")
        check_learning_rate(self)


class APEGANPlusPlus(PairTrainedPurifier):
    """The purifier of the paper, in front of (and trained with) one classifier.

    Args:
      classifier: the "third-party" classifier: a Keras model or callable from images to logits. It
        is never changed.
      seed: initial weights of generator and critic.
      **hyperparameters: fields of `APEGANPlusPlusConfig` in place of their defaults.
    """

    name = "apeganpp"
    summary = "WGAN-GP purifier that also answers to the classifier it guards (Yang et al. 2021)"
    config_type = APEGANPlusPlusConfig

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        images = (None, *self.classifier.image_shape)
        with seed_layers(seed):
            self.generator = self.config.make_generator(self.classifier.image_shape)
            self.critic = Critic()
            self.critic.build(images)

    def prepare(self, steps: int) -> None:
        self.generator_optimizer = make_adam(
            self.generator, self.config, steps, average=self.config.average
        )
        self.critic_optimizer = make_adam(self.critic, self.config, steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        clean = batch["clean"]
        adversarial = self.adversarial(batch, replica)
        # The generator runs once; both updates use what it gave.
        with tf.GradientTape() as generator_tape:
            purified = self.generator(adversarial, training=True)
        critic_scalars = update_critic(
            self.critic,
            self.critic_optimizer,
            clean,
            purified,
            self.config.penalty_weight,
            replica,
        )
        loss_gradient, generator_scalars = self._generator_loss(batch, purified, replica)
        gradients = generator_tape.gradient(
            purified, self.generator.trainable_variables, output_gradients=loss_gradient
        )
        self.generator_optimizer.apply(gradients, self.generator.trainable_variables)
        return {
            **generator_scalars,
            **critic_scalars,
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def _generator_loss(
        self, batch: Mapping[str, tf.Tensor], purified: tf.Tensor, replica: Replica
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Equation (1) and its gradient with respect to the purified images, [n, H, W, C]."""
        # Only images are watched: the critic and the frozen classifier get no gradients here.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            judged, compared, classified = copy_per_loss_term(tape, purified, 3)
            logits = self.classifier(classified)
            adversarial = replica.mean(wasserstein_generator_loss(self.critic(judged)))
            squared_error = replica.mean(mean_squared_error(batch["clean"], compared))
            classification = replica.mean(cross_entropy(batch["labels"], logits))
            loss = (
                adversarial
                + self.config.lambda1 * squared_error
                + self.config.lambda2 * classification
            )
        correct = tf.argmax(logits, -1, output_type=tf.int32) == batch["labels"]
        return sum_gradients(tape.gradient(loss, [judged, compared, classified])), {
            "loss_generator": loss,
            "loss_adversarial": adversarial,
            "loss_mse": squared_error,
            "loss_classification": classification,
            "accuracy": replica.mean(tf.cast(correct, tf.float32)),
        }
