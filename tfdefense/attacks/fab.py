"""Fast adaptive boundary attack: the nearest point at which the class changes, inside the box."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from tfdefense.attacks.apgd import APGDCE, APGDT
from tfdefense.attacks.carlini_wagner import CarliniWagnerL2
from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Attack, Crafted, Model
from tfdefense.attacks.core.gradients import is_zero, loss_gradient, misclassified
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.restarts import best_of
from tfdefense.attacks.core.targets import most_likely_others
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class FABT(Attack):
    """FAB, aimed in turn at the boundaries to the most likely wrong classes.

    Every step projects the iterate x_i and the image x onto the linearised boundary within [0, 1],
    d_1 and d_2 away, and goes to (1 - a)(x_i + eta d_1) + a (x + eta d_2); once past the boundary
    it goes a tenth of the way back to x. Of all points past it the nearest to x is kept.

    Croce, Hein, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack",
    ICML 2020, algorithm 1; targeted as in AutoAttack.

    Attributes:
      epsilon: None looks for the nearest point, wherever it is. A radius (a number, or float32
        [N, 1, 1, 1]) is content with any point within it, and leaves the image as it is if there
        is none.
      norm: "linf" or "l2".
      steps: for each class, at least 1.
      target_classes: so many, at least 1.
      alpha_max, eta, beta: of the paper; in (0, 1], at least 1, and in (0, 1).

    Raises:
      UserError: an attribute out of range.
    """

    name = "fab_t"

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
        if self.epsilon is not None and not tf.is_tensor(self.epsilon):
            norms.check_radius(self.epsilon, self.norm, self.name)
        for field in ("steps", "target_classes", "eta"):
            value = getattr(self, field)
            require(value >= 1, f"{self.name}: {field} {value} given, at least 1 needed.")
        require(
            0 < self.alpha_max <= 1,
            f"{self.name}: alpha_max {self.alpha_max} given, in (0, 1] needed.",
        )
        require(0 < self.beta < 1, f"{self.name}: beta {self.beta} given, in (0, 1) needed.")

    def aiming(self, num_classes: int) -> Attack:
        if self.epsilon is None:
            return CarliniWagnerL2()
        kind = APGDT if num_classes >= APGDT.least_classes else APGDCE
        return kind(epsilon=self.epsilon, norm=self.norm)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        def one_run(number: tf.Tensor, constants: tuple) -> tuple:
            images, labels, aims, enough, wrong = constants
            crafted, size = self._approach(model, images, labels, aims[:, number], enough, wrong)
            return crafted, -size, size <= enough

        logits = model(images)
        aims = most_likely_others(logits, labels, self.target_classes)
        highest = images.dtype.max
        radius = highest / 2 if self.epsilon is None else self.epsilon
        enough = tf.broadcast_to(tf.reshape(radius, [-1]), tf.shape(labels))
        constants = (images, labels, aims, enough, misclassified(logits, labels))
        stop = self.epsilon is not None
        crafted = best_of(one_run, aims.shape[1], images, constants, stop)
        return crafted._replace(queries=1 + crafted.queries)

    def _approach(
        self,
        model: Model,
        images: tf.Tensor,
        labels: tf.Tensor,
        aims: tf.Tensor,
        enough: tf.Tensor,
        wrong: tf.Tensor,
    ) -> tuple[Crafted, tf.Tensor]:
        """The nearest point found past the boundary to `aims`, and how far away it is."""

        def advance(number: tf.Tensor, state: tuple, constants: tuple) -> tuple:
            point, best, best_size, steps, blind = state
            images, labels, aims, enough = constants
            ahead, _, slope = loss_gradient(model, point, _lead(labels, aims))
            point = self._mix(point, images, ahead, slope)
            size = norms.lp_norm(point - images, self.norm)
            past = misclassified(model(point), labels)
            better = past & (size < best_size)
            best = tf.where(norms.expand_per_image(better), point, best)
            best_size = tf.where(better, size, best_size)
            back = images + self.beta * (point - images)
            point = tf.where(norms.expand_per_image(past), back, point)
            blind = tf.where(number == 0, is_zero(slope), blind)
            active = ~is_zero(slope)
            if self.epsilon is not None:
                active &= best_size > enough
            return (point, best, best_size, steps + 1, blind), active

        counts = tf.zeros_like(labels)
        highest = tf.fill(tf.shape(labels), images.dtype.max)
        _, best, best_size, steps, blind = masked_while_loop(
            advance,
            (images, images, highest, counts, counts > 0),
            ~wrong,
            self.steps,
            (images, labels, aims, enough),
        )
        best = tf.where(norms.expand_per_image(best_size <= enough), best, images)
        return Crafted(best, 2 * steps, steps, blind), best_size

    def _mix(
        self, point: tf.Tensor, images: tf.Tensor, ahead: tf.Tensor, slope: tf.Tensor
    ) -> tf.Tensor:
        """The next iterate, for the aim's lead over the label and its gradient at `point`."""
        from_point = to_boundary(point, slope, ahead, self.norm)
        at_images = ahead + tf.reduce_sum(slope * (images - point), axis=(1, 2, 3))
        from_images = to_boundary(images, slope, at_images, self.norm)
        near = tf.maximum(norms.lp_norm(from_point, self.norm), 1e-8)
        far = tf.maximum(norms.lp_norm(from_images, self.norm), 1e-8)
        alpha = norms.expand_per_image(tf.minimum(near / (near + far), self.alpha_max))
        mixed = (1 - alpha) * (point + self.eta * from_point)
        mixed += alpha * (images + self.eta * from_images)
        return tf.clip_by_value(mixed, 0.0, 1.0)


def _lead(labels: tf.Tensor, aims: tf.Tensor) -> tf.Tensor:
    def lead(logits: tf.Tensor) -> tf.Tensor:
        of_aim = tf.gather(logits, aims, batch_dims=1)
        return of_aim - tf.gather(logits, labels, batch_dims=1)

    return lead


def to_boundary(point: tf.Tensor, slope: tf.Tensor, value: tf.Tensor, norm: str) -> tf.Tensor:
    """The smallest change d with slope . d = -value and point + d in [0, 1]; in `norm`.

    Where the box does not reach that far, the change that gets nearest. At the optimum every
    coordinate goes the same way ("linf"), or a way in proportion to its slope ("l2"), as far as it
    has room; how far, is where a piecewise linear function of it, sorted by room, meets |value|.

    Args:
      point, slope: float32 [N, H, W, C].
      value: float32 [N], the linear function at `point`.
      norm: "linf" or "l2".
    """
    shape = tf.shape(point)
    x, w = (tf.reshape(tensor, [shape[0], -1]) for tensor in (point, slope))
    direction = -tf.sign(w) * tf.sign(value)[:, None]
    room = tf.where(direction < 0, x, 1 - x)
    steepness = tf.abs(w)
    speed = tf.ones_like(w) if norm == "linf" else steepness
    lasts = tf.where(speed > 0, tf.math.divide_no_nan(room, speed), 0.0)
    duration = _meeting(steepness * speed, lasts, tf.abs(value))
    change = direction * tf.minimum(duration[:, None] * speed, room)
    return tf.reshape(change, shape)


def _meeting(gains: tf.Tensor, lasts: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """The t [N] at which sum_i gains_i * min(t, lasts_i) is `value`; the longest, if it never is."""
    order = tf.argsort(lasts, axis=1)
    gains = tf.gather(gains, order, batch_dims=1)
    lasts = tf.gather(lasts, order, batch_dims=1)
    spent = tf.cumsum(gains * lasts, axis=1, exclusive=True)
    still = tf.cumsum(gains, axis=1, reverse=True)
    reached = spent + still * lasts >= value[:, None]
    first = tf.argmax(reached, axis=1)
    spent, still, last = (
        tf.gather(tensor, first, batch_dims=1) for tensor in (spent, still, lasts)
    )
    meets = tf.math.divide_no_nan(value - spent, still)
    ever = tf.reduce_any(reached, axis=1)
    return tf.where(ever, tf.minimum(meets, last), lasts[:, -1])
