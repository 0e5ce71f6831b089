"""DeepFool: steps to the nearest of the linearised class boundaries."""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.carlini_wagner import CarliniWagnerL2
from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Attack, Crafted, Model
from tfdefense.attacks.core.gradients import class_gradients, is_zero, misclassified
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.targets import most_likely_others
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class DeepFool(Attack):
    """x_{i+1} = x_0 + (1 + overshoot) * (r_0 + ... + r_i), until the class changes.

    r_i is the smallest step to where, were the model linear around x_i, the nearest of the
    candidate classes k would overtake the label y (algorithm 2): with f = f_k - f_y and w its
    gradient, r = |f| / ||w||_2^2 * w for "l2", and |f| / ||w||_1 * sign(w) for "linf".

    Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool: a Simple and Accurate Method to Fool Deep Neural
    Networks", CVPR 2016. Images that are misclassified already are left as they are; those that
    withstand `steps` steps come back as they were after the last.

    Attributes:
      norm: the one to keep small, "l2" or "linf".
      steps: at most so many, at least 1.
      overshoot: how far beyond the boundary, as a fraction of the way; 0 or more.
      candidates: the label and the classes most likely on the clean image, so many in all; at
        least 2.

    Raises:
      UserError: an attribute out of range.
    """

    name = "deepfool"
    summary = "Steps to the nearest linearised boundary (Moosavi-Dezfooli et al. 2016)"

    norm: str = "l2"
    steps: int = 50
    overshoot: float = 0.02
    candidates: int = 10

    def __post_init__(self) -> None:
        norms.check_norm(self.norm, self.name)
        for field, least in (("steps", 1), ("overshoot", 0), ("candidates", 2)):
            value = getattr(self, field)
            require(value >= least, f"{self.name}: {field} {value} given, {least} or more needed.")

    def aiming(self, num_classes: int) -> Attack:
        del num_classes
        return CarliniWagnerL2()

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        def move(number: tf.Tensor, state: tuple, constants: tuple) -> tuple:
            adversarial, total, steps, blind = state
            images, labels, directions = constants
            logits, gradients = class_gradients(model, adversarial, lambda _: directions)
            ahead = tf.einsum("nvk,nk->nv", directions, logits)
            step, slope = nearest_boundary(ahead, gradients, self.norm)
            total += step
            adversarial = tf.clip_by_value(images + (1 + self.overshoot) * total, 0.0, 1.0)
            blind = tf.where(number == 0, is_zero(slope), blind)
            standing = ~misclassified(model(adversarial), labels)
            return (adversarial, total, steps + 1, blind), standing & ~is_zero(slope)

        logits = model(images)
        nothing = tf.zeros_like(labels)
        directions = towards_candidates(logits, labels, self.candidates)
        adversarial, _, steps, blind = masked_while_loop(
            move,
            (images, tf.zeros_like(images), nothing, nothing > 0),
            ~misclassified(logits, labels),
            self.steps,
            (images, labels, directions),
        )
        return Crafted(adversarial, 1 + 2 * steps, directions.shape[1] * steps, blind)


def towards_candidates(logits: tf.Tensor, labels: tf.Tensor, candidates: int) -> tf.Tensor:
    """e_k - e_y for the most likely classes k other than the label y: float32 [N, V, K]."""
    classes = logits.shape[1]
    likely = most_likely_others(logits, labels, candidates - 1)
    return tf.one_hot(likely, classes) - tf.one_hot(labels, classes)[:, None]


def nearest_boundary(
    ahead: tf.Tensor, gradients: tf.Tensor, norm: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """The smallest step to any of V linearised boundaries, and the gradient that it follows.

    Args:
      ahead: float32 [N, V], logit of each candidate less the label's.
      gradients: float32 [N, V, H, W, C] of these.
      norm: "l2" or "linf".
    """
    slopes = tf.stack([norms.dual_norm(g, norm) for g in tf.unstack(gradients, axis=1)], axis=1)
    ways = tf.abs(ahead) / tf.maximum(slopes, 1e-12)
    # A flat one is never the nearest, unless all are.
    ways = tf.where(slopes > 0, ways, ways.dtype.max)
    nearest = tf.argmin(ways, axis=1)
    slope = tf.gather(gradients, nearest, batch_dims=1)
    way = tf.gather(ways, nearest, batch_dims=1)
    # Beyond the boundary by a hair, or an image that lies on it would not move at all.
    way = tf.where(is_zero(slope), 0.0, way + 1e-4)
    return norms.expand_per_image(way) * norms.steepest_direction(slope, norm), slope
