"""Fast gradient sign method: one step along the sign of the gradient.

Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 4.
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.bounded_attack import BoundedAttack
from tfdefense.attacks.core.cleverhans_backend import cross_entropy_gradient, project_to_ball
from tfdefense.attacks.core.input_gradients import is_zero
from tfdefense.attacks.core.model import Model


@dataclasses.dataclass(frozen=True)
class FGSM(BoundedAttack):
    """x' = clip(x + epsilon * sign(grad_x cross_entropy(f(x), y))).

    Given targets t, the step decreases cross_entropy(f(x), t). In "l2" the step is along the
    gradient itself.
    """

    name = "fgsm"
    summary = "The fast gradient sign method: one step (Goodfellow et al. 2015)"
    takes_targets: ClassVar[bool] = True

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        return AttackCost(gradients=1, predictions=1)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        gradient = cross_entropy_gradient(model, images, labels, targets)
        moved = images + self.epsilon * norms.steepest_direction(gradient, self.norm)
        moved = project_to_ball(moved, images, self.epsilon, self.norm)
        return AdversarialBatch(moved, queries=1, gradients=1, no_gradient=is_zero(gradient))


@dataclasses.dataclass(frozen=True)
class FGSMPredicted(FGSM):
    """FGSM that uses the model's own prediction in place of the true label.

    One step with the true label writes that label into the image ("label leaking"), and a purifier
    learns to read it. Kurakin, Goodfellow, Bengio, "Adversarial Machine Learning at Scale", ICLR
    2017, section 4.3.
    """

    name = "fgsm_predicted"
    takes_targets: ClassVar[bool] = False

    def targeted_variant(self, num_classes: int) -> Attack:
        del num_classes
        return FGSM(**dataclasses.asdict(self))

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        predicted = tf.argmax(model(images), axis=-1, output_type=labels.dtype)
        batch = super().craft(model, images, predicted, targets)
        return batch._replace(queries=2)
