"""Fast adaptive boundary attack (FAB): the nearest point in the box at which the class changes.

Croce, Hein, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML
2020, algorithm 1; targeted as in AutoAttack.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from tfdefense.attacks.apgd import APGDCE, APGDT
from tfdefense.attacks.carlini_wagner import CarliniWagnerL2
from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.box_projection import step_to_plane
from tfdefense.attacks.core.criteria import is_misclassified
from tfdefense.attacks.core.input_gradients import is_zero, loss_gradient
from tfdefense.attacks.core.losses import Loss
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.restarts import ScoredBatch, best_of_restarts
from tfdefense.attacks.core.targets import most_likely_wrong_classes
from tfdefense.errors import require
from tfdefense.networks.losses import select_logits


class _FABBatch(NamedTuple):
    """Images to attack; tensors of N rows.

    Attributes:
      images: clean images, float32 [N, H, W, C].
      labels: true classes, int32 [N].
      classes: wrong classes, int32 [N, T] or [N]; a run approaches the boundary to one of them.
      radius: distance at which an image is finished, float32 [N].
      misclassified: bool [N]; True for a clean image that is misclassified.
    """

    images: tf.Tensor
    labels: tf.Tensor
    classes: tf.Tensor
    radius: tf.Tensor
    misclassified: tf.Tensor


class _FABState(NamedTuple):
    """State of each image; tensors of N rows."""

    point: tf.Tensor
    best: tf.Tensor
    best_size: tf.Tensor
    steps: tf.Tensor
    no_gradient: tf.Tensor


@dataclasses.dataclass(frozen=True)
class FABT(Attack):
    """FAB towards the boundaries of the most likely wrong classes, one after the other.

    Every step projects the iterate x_i and the image x onto the linearised boundary within [0, 1].
    With d_1 and d_2 the steps to the two projections, the next iterate is (1 - a)(x_i + eta d_1) +
    a (x + eta d_2). An iterate beyond the boundary then moves back towards x: to x + beta (x_i -
    x). Of all points beyond the boundary the nearest to x is returned.

    Attributes:
      epsilon: None searches the nearest point at any distance. A radius (a number, or float32 [N,
        1, 1, 1]) accepts the first point within it; an image without such a point is returned
        unchanged.
      norm: "linf" or "l2".
      steps: number of steps for each class, at least 1.
      target_classes: number of classes, at least 1.
      alpha_max, eta, beta: hyperparameters of the paper; in (0, 1], at least 1, and in (0, 1).

    Raises:
      UserError: an attribute is out of range.
    """

    name = "fab_t"
    summary = (
        "FAB: the nearest boundary of each of the most likely wrong classes (Croce, Hein 2020)"
    )

    epsilon: float | tf.Tensor | None = None
    norm: str = "linf"
    steps: int = 100
    target_classes: int = 9
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    allowed_norms: ClassVar[tuple[str, ...]] = norms.NORMS

    def __post_init__(self) -> None:
        norms.check_norm(self.norm, self.name, self.allowed_norms)
        if self.epsilon is not None and not norms.has_radius_per_image(self.epsilon):
            norms.check_radius(self.epsilon, self.norm, self.name)
        for field in ("steps", "target_classes", "eta"):
            value = getattr(self, field)
            require(value >= 1, f"{self.name}: {field} {value} given, at least 1 needed.")
        require(
            0 < self.alpha_max <= 1,
            f"{self.name}: alpha_max {self.alpha_max} given, in (0, 1] needed.",
        )
        require(0 < self.beta < 1, f"{self.name}: beta {self.beta} given, in (0, 1) needed.")

    def targeted_variant(self, num_classes: int) -> Attack:
        if self.epsilon is None:
            return CarliniWagnerL2()
        attack = APGDT(epsilon=self.epsilon, norm=self.norm)
        if num_classes >= attack.min_classes:
            return attack
        return APGDCE(epsilon=self.epsilon, norm=self.norm)

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        classes = min(self.target_classes, num_classes - 1)
        return AttackCost(classes * self.steps, 1 + classes * self.steps)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        def run_once(number: tf.Tensor, batch: _FABBatch) -> ScoredBatch:
            batch = batch._replace(classes=batch.classes[:, number])
            adversarial, size = self._approach(model, batch)
            return ScoredBatch(adversarial, score=-size, success=size <= batch.radius)

        logits = model(images)
        classes = most_likely_wrong_classes(logits, labels, self.target_classes)
        radius = images.dtype.max / 2 if self.epsilon is None else self.epsilon
        radius = tf.reshape(norms.spread_radius(radius, images), [-1])
        batch = _FABBatch(images, labels, classes, radius, is_misclassified(logits, labels))
        found = best_of_restarts(
            run_once, classes.shape[1], images, batch, stop_at_success=self.epsilon is not None
        )
        return found._replace(queries=1 + found.queries)

    def _approach(self, model: Model, batch: _FABBatch) -> tuple[AdversarialBatch, tf.Tensor]:
        """Return the nearest point beyond the boundary to `batch.classes`, and its distance."""

        def step(
            number: tf.Tensor, state: _FABState, batch: _FABBatch
        ) -> tuple[_FABState, tf.Tensor]:
            images, labels = batch.images, batch.labels
            lead, _, gradient = loss_gradient(
                model, state.point, _lead_over_label(labels, batch.classes)
            )
            point = self._next_point(state.point, images, lead, gradient)
            size = norms.lp_norm(point - images, self.norm)
            is_beyond = is_misclassified(model(point), labels)
            better = is_beyond & (size < state.best_size)
            best = tf.where(norms.expand_per_image(better), point, state.best)
            best_size = tf.where(better, size, state.best_size)
            back = images + self.beta * (point - images)
            point = tf.where(norms.expand_per_image(is_beyond), back, point)
            no_gradient = tf.where(number == 0, is_zero(gradient), state.no_gradient)
            # A later iterate with a gradient of zero moves towards the image.
            active = ~no_gradient
            if self.epsilon is not None:
                active &= best_size > batch.radius
            return _FABState(point, best, best_size, state.steps + 1, no_gradient), active

        counts = tf.zeros_like(batch.labels)
        far = tf.fill(tf.shape(batch.labels), batch.images.dtype.max)
        state = masked_while_loop(
            step,
            _FABState(batch.images, batch.images, far, counts, counts > 0),
            ~batch.misclassified,
            self.steps,
            batch,
        )
        is_within = norms.expand_per_image(state.best_size <= batch.radius)
        best = tf.where(is_within, state.best, batch.images)
        adversarial = AdversarialBatch(best, 2 * state.steps, state.steps, state.no_gradient)
        return adversarial, state.best_size

    def _next_point(
        self, point: tf.Tensor, images: tf.Tensor, lead: tf.Tensor, gradient: tf.Tensor
    ) -> tf.Tensor:
        """Return the next iterate; `lead` and `gradient` linearise the boundary at `point`."""
        from_point = step_to_plane(point, gradient, lead, self.norm)
        lead_at_images = lead + tf.reduce_sum(gradient * (images - point), axis=(1, 2, 3))
        from_images = step_to_plane(images, gradient, lead_at_images, self.norm)
        near = tf.maximum(norms.lp_norm(from_point, self.norm), 1e-8)
        far = tf.maximum(norms.lp_norm(from_images, self.norm), 1e-8)
        alpha = norms.expand_per_image(tf.minimum(near / (near + far), self.alpha_max))
        mixed = (1 - alpha) * (point + self.eta * from_point)
        mixed += alpha * (images + self.eta * from_images)
        return tf.clip_by_value(mixed, 0.0, 1.0)


def _lead_over_label(labels: tf.Tensor, classes: tf.Tensor) -> Loss:
    """Return the logit of `classes` minus that of the label, as a function of logits."""

    def lead(logits: tf.Tensor) -> tf.Tensor:
        return select_logits(logits, classes) - select_logits(logits, labels)

    return lead
