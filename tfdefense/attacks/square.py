"""Square attack: a random search over squares that needs no gradient.

Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a Query-efficient Black-box Adversarial
Attack via Random Search", ECCV 2020, algorithm 1 with algorithms 2 ("linf") and 3 ("l2"). Where the
published code differs from the text, it is followed: the area shrinks after, not at, the given
queries, and a square that is smaller than the image never covers its last row or column.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.bounded_attack import BoundedAttack
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.losses import margin
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.square_l2_moves import WindowMoves, add_initial_bumps, random_starts
from tfdefense.errors import require

# The area of the squares is halved after each of these queries, of 10,000.
_HALVINGS = (10, 50, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000)
_SCHEDULE_QUERIES = 10_000


class _SquareBatch(NamedTuple):
    """Images to attack; tensors of N rows."""

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor | None
    epsilon: tf.Tensor
    keys: tf.Tensor


class _SquareState(NamedTuple):
    """Best image so far, its margin, and the number of queries; tensors of N rows."""

    best: tf.Tensor
    lowest_margin: tf.Tensor
    queries: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Square(BoundedAttack):
    """Starts with stripes ("linf") or bumps ("l2") on the image and tries one square per query.

    In "linf" the stripes and the squares are +-epsilon. In "l2" a query moves the perturbation of
    two windows into a bump in one of them. A square is kept if it lowers the margin of the label,
    or, given a target, if it raises the margin of the target. Only logits are used, so masked
    gradients do not matter.

    Attributes:
      queries: number of squares to try per image, at least 1. Each is one query; the clean image and
        the start are one query each in addition.
      first_area: fraction of the image that the first squares cover, in (0, 1].
      seed: seed of the squares.
      rescale_schedule: rescale the schedule of the squares' area, which is made for 10,000 queries,
        to `queries`. AutoAttack does not.

    Raises:
      UserError: an attribute is out of range; or, in a call, images of less than 10x10 pixels in "l2".
    """

    name = "square"
    summary = "Random squares, no gradient (Andriushchenko et al. 2020)"
    takes_targets: ClassVar[bool] = True
    uses_gradients: ClassVar[bool] = False
    queries: int = 5_000
    first_area: float = 0.8
    seed: int = 0
    rescale_schedule: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.queries >= 1, f"square: queries {self.queries} given, at least 1 needed.")
        require(
            0 < self.first_area <= 1,
            f"square: first_area {self.first_area} given, a number in (0, 1] needed.",
        )

    @property
    def min_side(self) -> int:
        return 10 if self.norm == "l2" else 1

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        return AttackCost(gradients=0, predictions=2 + self.queries)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        shorter_side = min(images.shape[1:3])
        require(
            shorter_side >= self.min_side,
            f"square: in l2, images of at least 10x10 needed, {shorter_side} given.",
        )
        sides = self.square_sides(images.shape[1], images.shape[2])
        moves = WindowMoves(sides, shorter_side)

        def evaluate(candidates: tf.Tensor, batch: _SquareBatch) -> tuple[tf.Tensor, tf.Tensor]:
            """Return the margin to lower, and the success, of each candidate."""
            logits = model(candidates)
            if batch.targets is None:
                lead = margin(batch.labels, logits)
            else:
                lead = -margin(batch.targets, logits)
            return lead, is_successful(logits, batch.labels, batch.targets)

        def step(
            number: tf.Tensor, state: _SquareState, batch: _SquareBatch
        ) -> tuple[_SquareState, tf.Tensor]:
            images, keys, epsilon = batch.images, batch.keys, batch.epsilon
            if self.norm == "linf":
                square = _random_square(keys, images, tf.constant(sides)[number], 1 + 4 * number)
                candidates = project_to_ball(state.best + 2 * epsilon * square, images, epsilon)
            else:
                candidates = moves.candidates(keys, images, state.best, epsilon, number)
            lead, success = evaluate(candidates, batch)
            better = (lead < state.lowest_margin) | success
            best = tf.where(norms.expand_per_image(better), candidates, state.best)
            lowest_margin = tf.where(better, lead, state.lowest_margin)
            return _SquareState(best, lowest_margin, state.queries + 1), ~success

        keys = per_image_random.image_keys(images, self.seed)
        batch = _SquareBatch(images, labels, targets, self.radius_per_image(images), keys)
        _, is_fooled = evaluate(images, batch)
        start = tf.where(norms.expand_per_image(is_fooled), images, self._start(batch))
        lead, success = evaluate(start, batch)
        state = masked_while_loop(
            step,
            _SquareState(start, lead, tf.zeros_like(labels) + 1),
            ~success,
            self.queries,
            batch,
        )
        return AdversarialBatch(state.best, queries=1 + state.queries)

    def _start(self, batch: _SquareBatch) -> tf.Tensor:
        images = batch.images
        if self.norm == "l2":
            return add_initial_bumps(batch.keys, images, batch.epsilon)
        stripes = per_image_random.signs(batch.keys, [1, images.shape[2], images.shape[3]], 0)
        return tf.clip_by_value(images + batch.epsilon * stripes, 0.0, 1.0)

    def square_sides(self, rows: int, columns: int) -> np.ndarray:
        """Return the side of the square of each query in pixels, int32 [queries]."""
        query = np.arange(self.queries)
        if self.rescale_schedule:
            query = (query / self.queries * _SCHEDULE_QUERIES).astype(int)
        halvings = np.searchsorted(_HALVINGS, query, side="left")
        sides = np.round(np.sqrt(self.first_area / 2.0**halvings * rows * columns))
        return np.clip(sides, 1, min(rows, columns)).astype(np.int32)


def _random_square(
    keys: tf.Tensor, images: tf.Tensor, side: tf.Tensor, stream: tf.Tensor
) -> tf.Tensor:
    """Return 0, and -1 or 1 per channel in a square at a random place, float32 [N, H, W, C]."""
    rows, columns, channels = images.shape[1:]

    def is_inside(size: int, stream: tf.Tensor) -> tf.Tensor:
        start = random_starts(keys, size, side, stream)[:, None]
        places = tf.range(size)[None]
        return (places >= start) & (places < start + side)

    inside = is_inside(rows, stream)[:, :, None] & is_inside(columns, stream + 1)[:, None]
    signs = per_image_random.signs(keys, [1, 1, channels], stream + 2)
    return tf.cast(inside, tf.float32)[..., None] * signs
