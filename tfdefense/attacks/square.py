"""Square attack: random squares, kept where they help; it needs no gradient."""

import dataclasses
import math
from typing import ClassVar

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random, square_l2
from tfdefense.attacks.core.attack import BoundedAttack, Crafted, Model
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.gradients import fooled, margin
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.square_l2 import Windows
from tfdefense.errors import require

# From this share of the queries on, the squares cover this fraction of their first area.
_SCHEDULE = (
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


@dataclasses.dataclass(frozen=True)
class Square(BoundedAttack):
    """Begins with stripes, or bumps, all over the image; each query tries one square more.

    In "linf" the stripes and squares are +-epsilon; in "l2" a query moves what two windows changed
    into a bump in one of them.

    The margin of the label (or of the target) decides whether a square stays. Only logits are
    asked for, so no masked gradient misleads it.

    Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a Query-efficient Black-box Adversarial
    Attack via Random Search", ECCV 2020, algorithm 1 with algorithms 2 ("linf") and 3 ("l2").

    Attributes:
      queries: for each image, at least 1, besides the one that asks of it as it is.
      first_area: share of the image that the first squares cover, in (0, 1].
      seed: fixes the squares.

    Raises:
      UserError: an attribute out of range.
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
    ) -> Crafted:
        untargeted = targets is None
        side = min(images.shape[1:3])
        require(
            self.norm == "linf" or side >= 10,
            f"square: in l2, images of at least 10x10 needed, {side} given.",
        )
        sides = self._sides(images.shape[1], images.shape[2])
        windows = Windows(sides, side)

        def judge(candidates: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tuple:
            logits = model(candidates)
            height = margin(labels, logits) if untargeted else -margin(targets, logits)
            return height, fooled(logits, labels, None if untargeted else targets)

        def advance(number: tf.Tensor, state: tuple, constants: tuple) -> tuple:
            best, lowest, queries = state
            images, labels, targets, epsilon, keys = constants
            if self.norm == "linf":
                square = _square(keys, images, tf.constant(sides)[number], 1 + 4 * number)
                candidates = project_to_ball(best + 2 * epsilon * square, images, epsilon)
            else:
                candidates = windows.candidates(keys, images, best, epsilon, number)
            height, fell = judge(candidates, labels, targets)
            better = (height < lowest) | fell
            best = tf.where(norms.expand_per_image(better), candidates, best)
            return (best, tf.where(better, height, lowest), queries + 1), ~fell

        aims = labels if untargeted else targets
        keys = per_image_random.image_keys(images, self.seed)
        epsilon = self.radii(images)
        _, right = judge(images, labels, aims)
        if self.norm == "linf":
            stripes = per_image_random.signs(keys, [1, images.shape[2], images.shape[3]], 0)
            start = tf.clip_by_value(images + epsilon * stripes, 0.0, 1.0)
        else:
            start = square_l2.start(keys, images, epsilon)
        start = tf.where(norms.expand_per_image(right), images, start)
        height, fell = judge(start, labels, aims)
        best, _, queries = masked_while_loop(
            advance,
            (start, height, tf.zeros_like(labels) + 1),
            ~fell,
            self.queries - 1,
            (images, labels, aims, epsilon, keys),
        )
        return Crafted(best, queries=1 + queries)

    def _sides(self, rows: int, columns: int) -> np.ndarray:
        """Side of the square of each query, in pixels: int32 [queries]."""
        sides = []
        for query in range(self.queries):
            done = query / self.queries
            shrunk = max(divisor for share, divisor in _SCHEDULE if share <= done)
            side = round(math.sqrt(self.first_area / shrunk * rows * columns))
            sides.append(min(max(side, 1), rows, columns))
        return np.array(sides, np.int32)


def _square(keys: tf.Tensor, images: tf.Tensor, side: tf.Tensor, stream: tf.Tensor) -> tf.Tensor:
    """0, and -1 or 1 in each channel of a square at a random place: float32 [N, H, W, C]."""
    rows, columns, channels = images.shape[1:]

    def within(size: int, stream: tf.Tensor) -> tf.Tensor:
        start = per_image_random.integers(keys, size - side + 1, stream)[:, None]
        places = tf.range(size)[None]
        return (places >= start) & (places < start + side)

    inside = within(rows, stream)[:, :, None] & within(columns, stream + 1)[:, None]
    colors = per_image_random.signs(keys, [1, 1, channels], stream + 2)
    return tf.cast(inside, tf.float32)[..., None] * colors
