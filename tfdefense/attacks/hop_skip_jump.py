"""HopSkipJump: steps along the decision boundary that need only the predicted class.

Chen, Jordan, Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", IEEE S&P
2020, algorithm 2.
"""

import dataclasses
import math
import warnings
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch, AttackResult
from tfdefense.attacks.core.boundary_walk import BoundaryWalk, WalkState
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.decision_boundary import BoundaryBatch, Oracle, decision_oracle
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.restarts import ScoredBatch, best_of_restarts
from tfdefense.attacks.core.starting_points import (
    find_starting_points,
    lacks_starting_point,
    missing_starts_message,
)
from tfdefense.errors import require

# Hyperparameters that are not numbers of at least 1.
_NOT_COUNTS = ("epsilon", "norm", "resolution", "seed")


class _HopSkipJumpBatch(NamedTuple):
    """Images to attack; tensors of N rows.

    Attributes:
      images: clean images, float32 [N, H, W, C].
      labels: true classes, int32 [N].
      targets: target classes, int32 [N]; None means any wrong class.
      radius: distance at which an image is finished, float32 [N].
      is_fooled: bool [N]; True for a clean image that is adversarial.
    """

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor | None
    radius: tf.Tensor
    is_fooled: tf.Tensor

    def with_keys(self, seed: int, restart: int | tf.Tensor = 0) -> BoundaryBatch:
        """Return the images with the keys of the random numbers of a restart."""
        # Not `seed + restart`: that would be the first walk of another seed.
        keys = per_image_random.image_keys(self.images, seed) + tf.cast(restart, tf.uint32)
        return BoundaryBatch(self.images, self.labels, self.targets, keys)


@dataclasses.dataclass(frozen=True)
class HopSkipJump(Attack):
    """Estimates the normal of the boundary, steps along it, and returns to the boundary.

    Step t starts at a point on the boundary. It queries B_0 * sqrt(t) random neighbours of this
    point to estimate the normal. It moves along the normal by distance / sqrt(t), which is halved
    until the end is adversarial, and searches the boundary between this end and the image. The
    nearest point of all steps is returned. Logits are never used, only the predicted class.

    The starting point is a random image of another class or, given a target, of that class. An
    image without a starting point is returned unchanged.

    Attributes:
      epsilon: None searches the nearest point at any distance. A radius (a number, or float32 [N,
        1, 1, 1]) accepts the first point within it; for an image without such a point, the nearest
        point is projected into the ball.
      norm: "linf" or "l2".
      queries: number of queries per image, at least 1, in addition to the one for the clean image.
      steps: largest number of steps, at least 1.
      initial_evaluations: B_0, the number of neighbours in the first step, at least 1.
      max_evaluations: largest number of neighbours in a step, at least 1.
      resolution: gamma of the paper, above 0. With d pixel values, a search ends at gamma /
        d^(3/2) of its length ("l2") or gamma / d^2 ("linf"), or after 16 halvings, and the
        neighbours are at gamma / d of the distance.
      tries: number of random images that are tried as a starting point, at least 1.
      restarts: number of walks from different starting points, at least 1. They share the queries
        equally. One walk ends at the boundary of one class, which may not be the nearest.
      seed: seed of all random images.

    Raises:
      UserError: an attribute is out of range. The call raises it if a walk has too few queries.
    """

    name = "hop_skip_jump"
    summary = "Steps along the boundary, only predicted classes (Chen, Jordan, Wainwright 2020)"
    takes_targets: ClassVar[bool] = True
    uses_gradients: ClassVar[bool] = False

    epsilon: float | tf.Tensor | None = None
    norm: str = "linf"
    queries: int = 25_000
    steps: int = 64
    initial_evaluations: int = 100
    max_evaluations: int = 10_000
    resolution: float = 1.0
    tries: int = 100
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        norms.check_norm(self.norm, self.name)
        if self.epsilon is not None and not norms.has_radius_per_image(self.epsilon):
            norms.check_radius(self.epsilon, self.norm, self.name)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in _NOT_COUNTS:
                require(value >= 1, f"{self.name}: {field.name} {value} given, at least 1 needed.")
        require(
            0 < self.resolution < math.inf,
            f"{self.name}: resolution {self.resolution:g} given, a number above 0 needed.",
        )

    def run(
        self, model: Model, images: Any, labels: Any, targets: Any | None = None
    ) -> AttackResult:
        """Return adversarial images with success, norms and cost; arguments as for the call.

        It warns if images of a radius above 0 have no starting point.
        """
        result = super().run(model, images, labels, targets)
        if tf.executing_eagerly():
            may_move = self.epsilon is None or np.ravel(self.epsilon) > 0
            is_missing = may_move & lacks_starting_point(result.success, result.linf)
            missing = int(np.sum(is_missing))
            if missing:
                warnings.warn(missing_starts_message(missing, len(images)), stacklevel=2)
        return result

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        return AttackCost(gradients=0, predictions=1 + self.queries)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        oracle = decision_oracle(model)
        max_tries = min(self.tries, self._spare_queries(images))

        def run_once(number: tf.Tensor, batch: _HopSkipJumpBatch) -> ScoredBatch:
            walked = batch.with_keys(self.seed, number)
            starts, found, tries = find_starting_points(oracle, walked, ~batch.is_fooled, max_tries)
            state = WalkState(starts, batch.images, norms.linf(starts - batch.images), tries)
            return self._approach(oracle, batch, walked, state, found)

        batch = self._batch(oracle, images, labels, targets)
        stop_at_success = self.epsilon is not None
        found = best_of_restarts(
            run_once, self.restarts, images, batch, stop_at_success=stop_at_success
        )
        return found._replace(queries=1 + found.queries)

    def craft_from(
        self,
        model: Model,
        batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor | None],
        starts: tf.Tensor,
    ) -> AdversarialBatch:
        """Return the result of one walk from given starting points in place of random images.

        An image is returned unchanged if it fools the model already, or if its starting point does
        not. The starting point costs one query.

        Args:
          model: the attacked model.
          batch: images float32 [N, H, W, C] in [0, 1], labels int32 [N], and targets int32 [N] or
            None for any wrong class.
          starts: starting points, float32 [N, H, W, C] in [0, 1].

        Raises:
          UserError: there are fewer queries than a walk needs, or the shapes differ.
        """
        if self.restarts > 1:  # One walk has all queries.
            return dataclasses.replace(self, restarts=1).craft_from(model, batch, starts)
        images, starts = (tf.convert_to_tensor(pixels, tf.float32) for pixels in (batch[0], starts))
        labels, targets = (
            None if classes is None else tf.cast(classes, tf.int32) for classes in batch[1:]
        )
        require(
            starts.shape == images.shape,
            f"{self.name}: starting points of shape {tuple(starts.shape)} given,"
            f" {tuple(images.shape)} needed.",
        )
        self._spare_queries(images)
        oracle = decision_oracle(model)
        attacked = self._batch(oracle, images, labels, targets)
        walked = attacked.with_keys(self.seed)
        sizes = norms.linf(starts - walked.images)
        state = WalkState(starts, walked.images, sizes, 1 + tf.zeros_like(walked.labels))
        active = ~attacked.is_fooled & oracle(starts, walked)
        found = self._approach(oracle, attacked, walked, state, active).adversarial
        return found._replace(queries=1 + found.queries)

    def _batch(
        self,
        oracle: Oracle,
        images: tf.Tensor,
        labels: tf.Tensor,
        targets: tf.Tensor | None,
    ) -> _HopSkipJumpBatch:
        """Return the images, with one query for each."""
        radius = 0.0 if self.epsilon is None else self.epsilon
        radius = tf.reshape(norms.spread_radius(radius, images), [-1])
        is_fooled = oracle(images, BoundaryBatch(images, labels, targets, labels))
        return _HopSkipJumpBatch(images, labels, targets, radius, is_fooled)

    def _spare_queries(self, images: tf.Tensor) -> int:
        """Return the queries that a walk has beyond the fewest; raise if there are none."""
        needed = self._walk(images).min_queries + 1
        require(
            self.queries // self.restarts >= needed,
            f"{self.name}: queries={self.queries} given, at least {needed * self.restarts} needed"
            f" for {self.restarts} walks on images {tuple(images.shape[1:])}.",
        )
        return self.queries // self.restarts - needed + 1

    def _walk(self, images: tf.Tensor) -> BoundaryWalk:
        pixel_values = images.shape[1:].num_elements()
        evaluations = (self.initial_evaluations, self.max_evaluations)
        return BoundaryWalk(self.norm, pixel_values, self.steps, evaluations, self.resolution)

    def _approach(
        self,
        oracle: Oracle,
        batch: _HopSkipJumpBatch,
        walked: BoundaryBatch,
        state: WalkState,
        active: tf.Tensor,
    ) -> ScoredBatch:
        """Walk from the starting points; project points outside the ball into it."""
        clean, radius = batch.images, batch.radius
        last_query = self.queries // self.restarts + tf.zeros_like(batch.labels)
        limits = (radius, last_query)
        state = self._walk(clean).run(oracle, walked, state, limits, active)
        images, size = state.best, norms.lp_norm(state.best - clean, self.norm)
        success = batch.is_fooled | active
        if self.epsilon is not None:
            is_inside = size <= radius
            projected = project_to_ball(images, clean, norms.expand_per_image(radius), self.norm)
            images = tf.where(norms.expand_per_image(is_inside), images, projected)
            success &= is_inside
        score = tf.where(active, -size, size.dtype.min)
        return ScoredBatch(AdversarialBatch(images, queries=state.queries), score, success)
