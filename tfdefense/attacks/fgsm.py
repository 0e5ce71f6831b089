"""Fast gradient sign method: one step."""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.base import LinfAttack, Model
from tfdefense.attacks.cleverhans_parts import linf_direction, project


@dataclasses.dataclass(frozen=True)
class FGSM(LinfAttack):
    """x' = clip(x + epsilon * sign(grad_x cross_entropy(f(x), y))).

    Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015.
    """

    name = "fgsm"

    def craft(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        moved = images + self.epsilon * linf_direction(model, images, labels)
        return project(moved, images, self.epsilon)


@dataclasses.dataclass(frozen=True)
class FGSMPredicted(FGSM):
    """FGSM that uses the model's own prediction in place of the true label.

    One step with the true label writes that label into the image ("label leaking"), and a purifier
    learns to read it. Kurakin, Goodfellow, Bengio, "Adversarial Machine Learning at Scale",
    ICLR 2017, section 4.3.
    """

    name = "fgsm_predicted"

    def craft(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        predicted = tf.argmax(model(images), axis=-1, output_type=labels.dtype)
        return super().craft(model, images, predicted)
