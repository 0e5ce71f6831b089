"""Adversarial training: the classifier itself learns from adversarial examples made against itself.

Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 6 (FGSM,
half of the loss on clean images); Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models
Resistant to Adversarial Attacks", ICLR 2018, equation (2.1) (PGD, no clean images):

    min_theta E max_{|delta| <= epsilon} L(theta, x + delta, y)

What comes out is a classifier of the same architecture, with weights of its own; `purify` changes nothing.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfdefense.attacks import Attack
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import DefendedClassifier, hyperparameter
from tfdefense.defenses.core.gan import make_adam, check_learning_rate
from tfdefense.defenses.core.inner_attack import InnerAttackConfig, make_inner_attack
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.core.robust_validation import make_robust_validator
from tfdefense.errors import require
from tfdefense.networks.upcast import upcast_bfloat16
from tfdefense.networks.losses import cross_entropy
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers


@dataclasses.dataclass(frozen=True)
class AdversarialTrainingConfig(InnerAttackConfig):
    """Hyperparameters of adversarial training."""

    adversarial_share: float | None = hyperparameter(
        None, "share of the loss that is on adversarial images (default: 0.5 for fgsm, else 1)"
    )
    learning_rate: float = hyperparameter(1e-3, "Adam's")
    schedule: str = hyperparameter("cosine", "learning rate over time: cosine (to zero), or constant")

    def __post_init__(self) -> None:
        super().__post_init__()
        share = self.adversarial_share
        require(
            share is None or 0 <= share <= 1,
            f"--adversarial_share={share}: a number in [0, 1] needed.",
        )
        check_learning_rate(self)


class AdversarialTraining(LearnedDefense):
    """A classifier like the given one, trained anew against attacks on itself.

    Args:
      classifier: a Keras model whose architecture is taken; it is never changed, and is what the report's
        undefended and grey-box columns attack.
      seed: initial weights.
      **hyperparameters: fields of `AdversarialTrainingConfig` in place of their defaults.

    Raises:
      UserError: the classifier is no Keras model with weights to train.
    """

    name = "adversarial_training"
    summary = "Trains the classifier against FGSM or PGD on itself (Goodfellow 2015, Madry 2018)"
    config_type = AdversarialTrainingConfig
    replaces_classifier = True

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        model = self.classifier.model
        require(
            isinstance(model, keras.Model) and bool(model.trainable_weights),
            f"classifier {self.classifier.name!r}: has no weights to train (a frozen graph?); a Keras model"
            " needed.",
        )
        with seed_layers(seed):
            self.network = keras.models.clone_model(model)
        self._attacked = FrozenClassifier(
            self.network, self.classifier.image_shape, self.classifier.num_classes
        )

    def inner_attack(self, seed: int | tf.Tensor = 0) -> Attack:
        """The attack of the inner maximisation; `seed` draws PGD's starts."""
        return make_inner_attack(self.config, self.classifier.image_shape, seed)

    @property
    def adversarial_share(self) -> float:
        """Share of the loss that is on adversarial images."""
        given = self.config.adversarial_share
        if given is not None:
            return given
        return 0.5 if self.config.inner_attack == "fgsm" else 1.0

    def networks(self) -> dict[str, keras.Model]:
        return {"network": self.network}

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return tf.identity(images)

    def defend(self, classifier: Any = None) -> DefendedClassifier:
        require(
            classifier is None,
            f"{self.name}: is a classifier itself, and stands before no other.",
        )
        return DefendedClassifier(self, self._attacked)

    def prepare(self, steps: int) -> None:
        self.optimizer = make_adam(self.network, self.config, steps, betas=(0.9, 0.999))

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        clean, labels, share = batch["clean"], batch["labels"], self.adversarial_share
        attack = self.inner_attack(seed=replica.step)
        adversarial = attack.traced_craft(self._attacked, clean, labels, None).images
        with tf.GradientTape() as tape:
            logits = self._logits(adversarial)
            adversarial_loss = replica.mean(cross_entropy(labels, logits))
            loss = share * adversarial_loss
            if share < 1:
                clean_losses = cross_entropy(labels, self._logits(clean))
                loss += (1 - share) * replica.mean(clean_losses)
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply(gradients, variables)
        withstood = tf.argmax(logits, -1, output_type=tf.int32) == labels
        return {
            "loss": loss,
            "loss_adversarial": adversarial_loss,
            "accuracy_adversarial": replica.mean(tf.cast(withstood, tf.float32)),
            "gradient_norm": replica.gradient_norm(gradients),
        }

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        return upcast_bfloat16(self.network(images, training=True))

    def watch(self, validation: Split) -> Callable[[], tuple[dict, dict]]:
        return make_robust_validator(self._attacked, self.inner_attack(), validation)
