"""N-FGSM: one strong step of adversarial training, from a noisy image.

De Jorge, Bibi, Volpi, Sanyal, Torr, Rogez, Dokania, "Make Some Noise: Reliable and Efficient
Single-Step Adversarial Training", NeurIPS 2022, algorithm 1. As in the authors' code (`train.py` of
github.com/pdejorge/N-FGSM, commit d1cf004), the noisy image is clipped to [0, 1] before its gradient
is taken, and the step starts at the clipped image.
"""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.bounded_attack import BoundedAttack
from tfdefense.attacks.core.cleverhans_backend import cross_entropy_gradient
from tfdefense.attacks.core.input_gradients import is_zero
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.pgd import random_perturbation


@dataclasses.dataclass(frozen=True)
class NoiseFGSM(BoundedAttack):
    """x' = clip(z + epsilon * sign(grad_z cross_entropy(f(z), y))), with z = clip(x + uniform noise).

    Both clip to [0, 1].

    It is for training only, because it leaves the ball: the noise alone is up to k epsilon, and
    nothing brings x' back. This is what prevents catastrophic overfitting to a single step.

    Attributes:
      seed: seed of the noise. The noise of an image depends on the seed and the image, not on its
        batch.
      noise: k of the paper: the noise is uniform in [-k epsilon, k epsilon]. The authors' default is 2.
    """

    name = "nfgsm"
    allowed_norms = ("linf",)
    seed: int | tf.Tensor = 0
    noise: float = 2.0

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        keys = per_image_random.image_keys(images, self.seed)
        noise = random_perturbation(keys, images, 0, self.noise * self.epsilon, self.norm)
        noisy = tf.clip_by_value(images + noise, 0.0, 1.0)
        gradient = cross_entropy_gradient(model, noisy, labels, targets)
        moved = tf.clip_by_value(noisy + self.epsilon * tf.sign(gradient), 0.0, 1.0)
        return AdversarialBatch(moved, queries=1, gradients=1, no_gradient=is_zero(gradient))
