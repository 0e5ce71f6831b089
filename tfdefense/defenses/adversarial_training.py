"""Adversarial training: the classifier itself learns from adversarial examples of itself.

Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 6,
with FGSM and alpha = 1/2:

    J~(theta, x, y) = alpha J(theta, x, y) + (1 - alpha) J(theta, x + epsilon sign(grad_x J), y)

Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR 2018, equation (2.1), with PGD and no clean images:

    min_theta E max_{|delta| <= epsilon} L(theta, x + delta, y)

Here `adversarial_share` is 1 - alpha: 0.5 for FGSM, 1 for PGD. Algorithm, for each batch: attack the
current network, then update it on the loss.

The result is a classifier of the same architecture with new weights; `purify` is the identity.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfdefense.attacks.core.bounded_attack import BoundedAttack
from tfdefense.classifiers.core.float32_inference import convert_to_float32
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.augmenting_defense import AugmentationConfig
from tfdefense.defenses.core.hyperparameters import (
    SCHEDULE_HELP,
    check_fraction,
    check_learning_rate,
    hyperparameter,
)
from tfdefense.defenses.core.inner_attack import (
    InnerAttackConfig,
    make_inner_attack,
    make_validation_attack,
)
from tfdefense.defenses.core.optimizer import ADAM_BETAS, make_adam
from tfdefense.defenses.core.probed_defense import ProbedDefense
from tfdefense.defenses.core.robust_validator import make_robust_validator
from tfdefense.errors import require
from tfdefense.networks.losses import cross_entropy
from tfdefense.networks.upcast import upcast_bfloat16
from tfdefense.training.nested_layers import finalize_states
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers
from tfdefense.training.task import Validate


@dataclasses.dataclass(frozen=True)
class AdversarialTrainingConfig(InnerAttackConfig, AugmentationConfig):
    """Hyperparameters of adversarial training."""

    adversarial_share: float | None = hyperparameter(
        None, "weight of adversarial images in the loss, in [0, 1] (default: 0.5 for fgsm, else 1)"
    )
    learning_rate: float = hyperparameter(1e-3, "Adam's")
    schedule: str = hyperparameter("cosine", SCHEDULE_HELP)

    def __post_init__(self) -> None:
        InnerAttackConfig.__post_init__(self)
        AugmentationConfig.__post_init__(self)
        check_fraction(self, "adversarial_share")
        check_learning_rate(self)


class AdversarialTraining(ProbedDefense):
    """A classifier of the given architecture, trained from new weights against attacks on itself.

    Weights that training does not change are kept: those of a frozen backbone or `Normalization`,
    the kernel behind a LoRA adapter, and quantised kernels. Regularizers of layers have no effect. A
    model of mixed precision is trained in the precision of the training.

    Args:
      classifier: a Keras model, whose architecture is used. It is never changed; the undefended and
        grey-box columns of a report attack it.
      seed: seed of the initial weights.
      **hyperparameters: values of fields of `AdversarialTrainingConfig`.

    Raises:
      UserError: the classifier is not a Keras model with trainable weights.
    """

    name = "adversarial_training"
    summary = "Trains the classifier against FGSM or PGD on itself (Goodfellow 2015, Madry 2018)"
    config_type = AdversarialTrainingConfig
    config: AdversarialTrainingConfig
    replaces_classifier = True

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        model = self.classifier.model
        require(
            isinstance(model, keras.Model) and bool(model.trainable_weights),
            f"classifier {self.classifier.name!r}: has no weights to train; a Keras model is needed, not"
            " a frozen graph.",
        )
        with seed_layers(seed):
            self.network = keras.models.clone_model(model)
        convert_to_float32(self.network)  # In float16, its small gradients would be 0.
        # In inference mode, for attacks and for the pipeline.
        self._frozen_network = FrozenClassifier(
            self.network, self.classifier.image_shape, self.classifier.num_classes
        )
        _copy_untrained_weights(model, self.network)
        finalize_states([self.network])

    def make_inner_attack(self, seed: int | tf.Tensor = 0) -> BoundedAttack:
        """Return the attack of the inner maximisation, with this seed for random starts."""
        return make_inner_attack(self.config, self.classifier.image_shape, seed)

    @property
    def adversarial_share(self) -> float:
        """Weight of adversarial images in the loss."""
        given = self.config.adversarial_share
        if given is not None:
            return given
        return 0.5 if self.config.inner_attack == "fgsm" else 1.0

    def networks(self) -> dict[str, keras.Layer]:
        return {"network": self.network}

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return tf.identity(images)

    def deciding_classifier(self, classifier: Any = None) -> FrozenClassifier:
        """Return the trained network; no other classifier is allowed."""
        require(
            classifier is None,
            f"{self.name}: is a classifier itself, so it cannot guard another.",
        )
        return self._frozen_network

    def prepare(self, steps: int) -> None:
        self.optimizer = make_adam(self.network, self.config, steps, betas=ADAM_BETAS)
        self.prepare_probe(self.network, self.optimizer, steps)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        batch = self.augment(batch, replica)
        clean, labels, share = batch["clean"], batch["labels"], self.adversarial_share
        attack = self.make_inner_attack(seed=replica.step)
        adversarial = attack.craft_in_graph(self._frozen_network, clean, labels, None).images
        with tf.GradientTape() as tape:
            logits = self._training_logits(adversarial)
            adversarial_loss = replica.mean(cross_entropy(labels, logits))
            loss = share * adversarial_loss
            if share < 1:
                clean_losses = cross_entropy(labels, self._training_logits(clean))
                loss += (1 - share) * replica.mean(clean_losses)
        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply(gradients, variables)
        correct = tf.argmax(logits, -1, output_type=tf.int32) == labels
        return {
            "loss": loss,
            "loss_adversarial": adversarial_loss,
            "accuracy_adversarial": replica.mean(tf.cast(correct, tf.float32)),
            "gradient_norm": replica.gradient_norm(gradients),
        }

    def _training_logits(self, images: tf.Tensor) -> tf.Tensor:
        return upcast_bfloat16(self.network(images, training=True))

    def make_validator(self, validation: Split) -> Validate:
        attack = make_validation_attack(self.config, self.classifier.image_shape)
        return make_robust_validator(self._frozen_network, attack, validation)


def _copy_untrained_weights(model: keras.Layer, clone: keras.Layer) -> None:
    """Copy the weights that training does not change.

    A layer without layers inside it may have both kinds, such as a `Dense` with a LoRA adapter.
    """
    for layer, cloned in zip(_parts(model), _parts(clone), strict=True):
        if layer.trainable_weights and _parts(layer):
            _copy_untrained_weights(layer, cloned)
        elif not _learns_statistics(layer):
            untrained = {id(weight) for weight in layer.non_trainable_weights}
            for weight, copy in zip(layer.weights, cloned.weights, strict=True):
                if id(weight) in untrained:
                    copy.assign(weight)


def _parts(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers of a model, or those inside another layer."""
    if isinstance(layer, keras.Model):
        return layer.layers
    # Keras has no public list of the layers inside a layer.
    return list(layer._flatten_layers(recursive=False, include_self=False))


def _learns_statistics(layer: keras.Layer) -> bool:
    """Return whether training changes weights of a layer that are not trainable."""
    return isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
