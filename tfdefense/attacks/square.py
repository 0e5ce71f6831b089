"""Square attack: a random search over squares that needs no gradient.

Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a Query-efficient Black-box Adversarial
Attack via Random Search", ECCV 2020, algorithm 1 with algorithms 2 ("linf") and 3 ("l2").
"""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random
from tfdefense.attacks.core.attack import BoundedAttack
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.losses import margin
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.square_l2_moves import WindowMoves, add_initial_bumps
from tfdefense.errors import require

# Pairs of the fraction of queries from which it applies, and the divisor of the first area.
_AREA_SCHEDULE = (
    (0.0, 1),
    (0.001, 2),
    (0.005, 4),
    (0.02, 8),
    (0.05, 16),
    (0.1, 32),
    (0.2, 64),
    (0.4, 128),
    (0.6, 256),
    (0.8, 512),
)


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
      queries: number of queries per image, at least 1, in addition to the one for the clean image.
      first_area: fraction of the image that the first squares cover, in (0, 1].
      seed: seed of the squares.

    Raises:
      UserError: an attribute is out of range.
    """

    name = "square"
    summary = "Random squares, no gradient (Andriushchenko et al. 2020)"
    takes_targets: ClassVar[bool] = True
    queries: int = 5_000
    first_area: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.queries >= 1, f"square: queries {self.queries} given, at least 1 needed.")
        require(
            0 < self.first_area <= 1,
            f"square: first_area {self.first_area} given, a number in (0, 1] needed.",
        )

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        shorter_side = min(images.shape[1:3])
        require(
            self.norm == "linf" or shorter_side >= 10,
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
            self.queries - 1,
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
        sides = []
        for query in range(self.queries):
            done = query / self.queries
            divisor = max(divisor for fraction, divisor in _AREA_SCHEDULE if fraction <= done)
            side = round(math.sqrt(self.first_area / divisor * rows * columns))
            sides.append(min(max(side, 1), rows, columns))
        return np.array(sides, np.int32)


def _random_square(
    keys: tf.Tensor, images: tf.Tensor, side: tf.Tensor, stream: tf.Tensor
) -> tf.Tensor:
    """Return 0, and -1 or 1 per channel in a square at a random place, float32 [N, H, W, C]."""
    rows, columns, channels = images.shape[1:]

    def is_inside(size: int, stream: tf.Tensor) -> tf.Tensor:
        start = per_image_random.integers(keys, size - side + 1, stream)[:, None]
        places = tf.range(size)[None]
        return (places >= start) & (places < start + side)

    inside = is_inside(rows, stream)[:, :, None] & is_inside(columns, stream + 1)[:, None]
    signs = per_image_random.signs(keys, [1, 1, channels], stream + 2)
    return tf.cast(inside, tf.float32)[..., None] * signs
