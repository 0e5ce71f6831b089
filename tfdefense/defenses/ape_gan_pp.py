"""APE-GAN++: a WGAN-GP purifier that also minimises the loss of the classifier it guards.

Yang, Chen, Cao, "APE-GAN++: An Improved APE-GAN to Eliminate Adversarial Perturbations", IAENG
International Journal of Computer Science, 2021, section III.B. The generator G turns an adversarial
image x' of a clean image x with label y into G(x'); f is the "third-party" classifier. Losses:

    L_APE-GAN++ = L_WGAN-GP + lambda1 L_MSE + lambda2 L_CLC      (1)
    L_MSE       = ||x - G(x')||^2                                (2)
    L_CLC       = CrossEntropy(y, f(G(x')))                      (3)

L_MSE is a mean over pixels and channels here. L_WGAN-GP is, for the generator, -E[C(G(x'))], and
for the critic C equation (3) of Gulrajani et al. 2017: see `core/wgan_gp.py`. Algorithm, for each
batch:

    1. Draw x': FGSM examples of f, with one of the training strengths per image.
    2. Update C on (x, G(x')).
    3. Update G on (1).

APE-GAN++ defends against attackers who know the classifier only (grey box). White-box attacks on
`defend(classifier)` break it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfdefense.data.core.dataset import Split
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
from tfdefense.defenses.core.wgan_gp import CriticTrainer
from tfdefense.networks.critic import Critic
from tfdefense.networks.losses import (
    cross_entropy,
    mean_squared_error,
    wasserstein_generator_loss,
)
from tfdefense.training import BATCH_SIZE, usual_batch_size
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers

_FEW_IMAGES, _FEW_IMAGES_EPOCHS, _FEW_IMAGES_BATCH = 5_000, 24, 32


@dataclasses.dataclass(frozen=True)
class APEGANPlusPlusConfig(GeneratorConfig):
    """Hyperparameters of APE-GAN++. The weights of the losses are the paper's (section IV.A)."""

    strengths: tuple[float, ...] | None = hyperparameter(
        None,
        "FGSM epsilons to train on, each in [0, 1] (default: 0.1,0.3,0.5,0.7 for grey images,"
        " 0.01,0.03,0.05,0.07 for colour)",
    )
    lambda1: float = hyperparameter(0.5, "weight of the squared error, equation (1)")
    lambda2: float = hyperparameter(0.5, "weight of the classification loss, equation (1)")
    penalty_weight: float = hyperparameter(10.0, "weight of the critic's gradient penalty")
    learning_rate: float = hyperparameter(
        1e-3, "Adam's, of generator and critic; the paper's is 2e-4"
    )
    schedule: str = hyperparameter("cosine", f"{SCHEDULE_HELP}; the paper's is constant")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_strengths(self)
        check_not_negative(self, "lambda1", "lambda2", "penalty_weight")
        check_learning_rate(self)


class APEGANPlusPlus(PairTrainedPurifier):
    """The purifier of the paper, in front of the classifier that it is trained with.

    Args:
      classifier: the "third-party" classifier f: a Keras model or a callable from images to logits. It
        is never changed.
      seed: seed of the initial weights of generator and critic.
      **hyperparameters: values of fields of `APEGANPlusPlusConfig`.
    """

    name = "apeganpp"
    summary = "WGAN-GP purifier that also minimises the classifier's loss (Yang et al. 2021)"
    config_type = APEGANPlusPlusConfig
    config: APEGANPlusPlusConfig

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        image_shape = self.classifier.image_shape
        with seed_layers(seed):
            self.generator = self.config.make_generator(image_shape)
            self.critic = Critic()
            self.critic.build((None, *image_shape))

    @classmethod
    def default_epochs(cls, train: Split) -> int:
        """Return the usual epochs, or 24 over fewer than 5,000 images, with their small batches."""
        usual = super().default_epochs(train)
        return min(usual, _FEW_IMAGES_EPOCHS) if len(train) < _FEW_IMAGES else usual

    @classmethod
    def default_batch_size(cls, train: Split) -> int:
        """Return the usual size, or at most 32 with fewer than 5,000 images, for more steps."""
        largest = _FEW_IMAGES_BATCH if len(train) < _FEW_IMAGES else BATCH_SIZE
        return usual_batch_size(train.image_shape, largest)

    def prepare(self, steps: int) -> None:
        self.generator_optimizer = make_adam(
            self.generator, self.config, steps, average=self.config.average
        )
        self.critic_optimizer = make_adam(self.critic, self.config, steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        pairs = self.draw_pairs(batch, replica)
        # G(x') is computed once, for both updates.
        with tf.GradientTape() as generator_tape:
            purified = self.generator(pairs["adversarial"], training=True)
        critic = CriticTrainer(self.critic, self.critic_optimizer, self.config.penalty_weight)
        critic_scalars = critic.step(pairs["clean"], purified, replica)
        loss_gradient, generator_scalars = self._generator_loss(pairs, purified, replica)
        variables = self.generator.trainable_variables
        gradients = generator_tape.gradient(purified, variables, output_gradients=loss_gradient)
        self.generator_optimizer.apply(gradients, variables)
        return {
            **generator_scalars,
            **critic_scalars,
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def _generator_loss(
        self, pairs: Mapping[str, tf.Tensor], purified: tf.Tensor, replica: Replica
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Return the gradient of equation (1) with respect to G(x'), [n, H, W, C], and scalars."""
        clean, labels, config = pairs["clean"], pairs["labels"], self.config
        # Only the images are watched: critic and classifier get no gradients here.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for_critic, for_error, for_classifier = copy_per_loss_term(tape, purified, 3)
            logits = self.classifier(for_classifier)
            adversarial = replica.mean(wasserstein_generator_loss(self.critic(for_critic)))
            squared_error = replica.mean(mean_squared_error(clean, for_error))  # (2)
            classification = replica.mean(cross_entropy(labels, logits))  # (3)
            loss = (  # (1)
                adversarial + config.lambda1 * squared_error + config.lambda2 * classification
            )
        gradient = sum_gradients(tape.gradient(loss, [for_critic, for_error, for_classifier]))
        correct = tf.argmax(logits, -1, output_type=tf.int32) == labels
        return gradient, {
            "loss_generator": loss,
            "loss_adversarial": adversarial,
            "loss_mse": squared_error,
            "loss_classification": classification,
            "accuracy": replica.mean(tf.cast(correct, tf.float32)),
        }
