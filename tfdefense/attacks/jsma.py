"""Jacobian saliency map attack: two pixels at a time, as few as it takes."""

import dataclasses
import math

import tensorflow as tf

from tfdefense.attacks.core.attack import Crafted, Model
from tfdefense.attacks.core.gradients import class_gradients, cross_entropy, fooled, loss_gradient
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.targets import TargetedAttack
from tfdefense.errors import require, unknown_name


@dataclasses.dataclass(frozen=True)
class JSMA(TargetedAttack):
    """Moves, again and again, the two values whose saliency is highest, until the target is reached.

    With a_i the gradient of the target's output at value i and b_i that of the sum of all others', the
    pair (i, j) that maximises -(a_i + a_j)(b_i + b_j) among those with a_i + a_j > 0 and
    b_i + b_j < 0 (for a negative theta: with both signs turned) moves by theta. The search over all
    pairs is exact. Where no pair qualifies, the two values of highest a - b are taken.

    Papernot et al., "The Limitations of Deep Learning in Adversarial Settings", EuroS&P 2016,
    algorithm 3, which takes theta = 1.

    Attributes:
      theta: added to both values, in [-1, 1] and not 0; they are clipped to [0, 1].
      gamma: the largest share of an image's values that may be changed, in (0, 1].
      saliency: whose gradients a and b are, the "probabilities'" or the "logits'" (JSMA-F and JSMA-Z
        of Carlini and Wagner 2017). The former need half the backward passes and fewer pixels.
      targets: see `TargetedAttack`; "any" is not possible.

    Raises:
      UserError: an attribute out of range.
    """

    name = "jsma"
    summary = "The Jacobian-based saliency map attack: as few pixels as possible, two at a time (Papernot et al. 2016)"

    theta: float = 1.0
    gamma: float = 0.145
    saliency: str = "probabilities"
    targets: str = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.targets != "any", "jsma: targets any given; random, second or least_likely needed."
        )
        if self.saliency not in ("probabilities", "logits"):
            raise unknown_name("jsma: saliency", self.saliency, ("probabilities", "logits"))
        require(
            -1 <= self.theta <= 1 and self.theta != 0,
            f"jsma: theta {self.theta} given, a number in [-1, 1] that is not 0 needed.",
        )
        require(0 < self.gamma <= 1, f"jsma: gamma {self.gamma} given, a number in (0, 1] needed.")

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        values = images.shape[1] * images.shape[2] * images.shape[3]
        sign = 1.0 if self.theta > 0 else -1.0

        def move(number: tf.Tensor, state: tuple, constants: tuple) -> tuple:
            adversarial, gradients, blind = state
            images, labels, targets = constants
            logits, towards, away = self._slopes(model, adversarial, targets)
            flat, clean = (tf.reshape(tensor, [-1, values]) for tensor in (adversarial, images))
            free = flat < 1 if self.theta > 0 else flat > 0
            pair = most_salient_pair(sign * towards, sign * away, free)
            chosen = tf.reduce_max(tf.one_hot(pair, values), axis=1)
            moved = tf.clip_by_value(flat + self.theta * chosen, 0.0, 1.0)
            changed = tf.math.count_nonzero(flat != clean, axis=1, dtype=tf.float32)
            more = ~fooled(logits, labels, targets) & tf.reduce_any(free, axis=1)
            more &= changed + 2 <= self.gamma * values
            moved = tf.where(more[:, None] & free, moved, flat)
            blind = tf.where(number == 0, tf.reduce_all(towards == 0, axis=1), blind)
            return (tf.reshape(moved, tf.shape(images)), gradients + 1, blind), more

        nothing = tf.zeros_like(labels)
        everyone = tf.ones_like(labels, tf.bool)
        adversarial, gradients, blind = masked_while_loop(
            move,
            (images, nothing, nothing > 0),
            everyone,
            # Each step takes a value nearer to its end, which none is further from than that.
            values * math.ceil(1 / abs(self.theta)),
            (images, labels, targets),
        )
        backward = 1 if self.saliency == "probabilities" else 2
        return Crafted(adversarial, gradients, backward * gradients, blind)

    def _slopes(
        self, model: Model, images: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Logits, and for each value a (towards the target) and -b (away from the others): [N, P]."""
        if self.saliency == "probabilities":
            # The others' sum is one less the target's, so b = -a; that of the logarithm is the same
            # but for a factor, and does not underflow.
            _, logits, slope = loss_gradient(
                model, images, lambda logits: -cross_entropy(targets)(logits)
            )
            towards = away = slope
        else:

            def directions(logits: tf.Tensor) -> tf.Tensor:
                target = tf.one_hot(targets, tf.shape(logits)[1])
                return tf.stack([target, target - 1], axis=1)

            logits, gradients = class_gradients(model, images, directions)
            towards, away = tf.unstack(gradients, axis=1)
        flat = [tf.shape(images)[0], images.shape[1] * images.shape[2] * images.shape[3]]
        return logits, tf.reshape(towards, flat), tf.reshape(away, flat)


def most_salient_pair(towards: tf.Tensor, away: tf.Tensor, free: tf.Tensor) -> tf.Tensor:
    """The pair i != j of highest (a_i + a_j)(c_i + c_j) among those where both sums are positive.

    Exact, without looking at all pairs: if two other values have both a and c at least as high as
    j's, one of them is not i and does as well in j's place. So the best pair is among the values
    that at most one other dominates, and of these there are few.

    Args:
      towards, away: float32 [N, P], a and c.
      free: bool [N, P], the values that may be taken.

    Returns:
      int32 [N, 2], positions; where no pair qualifies, the two free ones of highest a + c.
    """
    lowest = towards.dtype.min / 8
    order = tf.argsort(tf.where(free, towards, lowest), axis=1, direction="DESCENDING")
    a = tf.gather(towards, order, batch_dims=1)
    c = tf.where(tf.gather(free, order, batch_dims=1), tf.gather(away, order, batch_dims=1), lowest)
    undominated = (c >= _second_highest_before(c)) & (c > lowest)
    counts = tf.reduce_sum(tf.cast(undominated, tf.int32), axis=1)
    few = tf.maximum(tf.reduce_max(counts), 2)
    # Undominated ones first, each in its place of the order.
    _, kept = tf.math.top_k(tf.cast(undominated, tf.int32), few)
    there = tf.sequence_mask(counts, few)
    a, c = tf.gather(a, kept, batch_dims=1), tf.gather(c, kept, batch_dims=1)
    sums_a, sums_c = a[:, :, None] + a[:, None], c[:, :, None] + c[:, None]
    pairs = there[:, :, None] & there[:, None] & ~tf.eye(few, dtype=tf.bool)
    saliency = tf.where(pairs & (sums_a > 0) & (sums_c > 0), sums_a * sums_c, 0.0)
    fallback = tf.where(pairs, sums_a + sums_c, lowest)
    none = tf.reduce_max(saliency, axis=(1, 2), keepdims=True) <= 0
    best = tf.argmax(
        tf.reshape(tf.where(none, fallback, saliency), [-1, few * few]), 1, output_type=tf.int32
    )
    within = tf.stack([best // few, best % few], axis=1)
    kept = tf.gather(kept, within, batch_dims=1)
    return tf.gather(order, kept, batch_dims=1)


def _second_highest_before(values: tf.Tensor) -> tf.Tensor:
    """Second highest of all values left of each one, [N, P]; the dtype's lowest where there is none."""
    lowest = values.dtype.min
    first = tf.pad(values, [[0, 0], [1, 0]], constant_values=lowest)[:, :-1]
    second = tf.fill(tf.shape(first), lowest)
    reach = 1
    while reach < values.shape[1]:  # Each round doubles how far to the left has been looked.
        ends = [[0, 0], [reach, 0]]
        before_first = tf.pad(first, ends, constant_values=lowest)[:, :-reach]
        before_second = tf.pad(second, ends, constant_values=lowest)[:, :-reach]
        lower = tf.minimum(first, before_first)
        first = tf.maximum(first, before_first)
        second = tf.maximum(lower, tf.maximum(second, before_second))
        reach *= 2
    return second
