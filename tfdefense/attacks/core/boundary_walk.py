"""Walk along a decision boundary: the loop of HopSkipJump.

Chen, Jordan, Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", IEEE S&P
2020, algorithm 2.
"""

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.decision_boundary import (
    BoundaryBatch,
    NoiseSamples,
    Oracle,
    estimate_normal,
    search_boundary,
    step_along,
)
from tfdefense.attacks.core.masked_loop import masked_while_loop

# Halvings of a search: more than 16 leave differences that float32 logits do not show.
_MAX_HALVINGS = 16
# In "linf", a search in "l2" precedes the first one. It ends at 1/1000 of its length.
_FIRST_HALVINGS = 10
_STEP_TRIES = 20
_FIRST_NOISE = 0.1  # Length of the noise in the first step.
# The noise changes a pixel by at least this much on average, so that float32 logits show it.
_SMALLEST_NOISE_PER_PIXEL = 1e-5
# The result is this fraction beyond the boundary, so that rounding does not move it back. It stays
# where it is if it would leave the ball.
_OVERSHOOT = 1e-3


class WalkState(NamedTuple):
    """Point at the boundary, nearest point so far, its distance, and queries; tensors of N rows."""

    point: tf.Tensor
    best: tf.Tensor
    best_size: tf.Tensor
    queries: tf.Tensor


class _WalkConstants(NamedTuple):
    """Images, the distance at which each is finished, and its last query; tensors of N rows."""

    batch: BoundaryBatch
    radius: tf.Tensor
    last_query: tf.Tensor


_StepResult = tuple[WalkState, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class BoundaryWalk:
    """Steps along the boundary that approach the image.

    Attributes:
      norm: "linf" or "l2".
      pixel_values: d, the number of pixel values of an image.
      steps: largest number of steps.
      evaluations: number of neighbours in the first step, and largest number in a step.
      resolution: gamma of the paper; see `HopSkipJump`.
    """

    norm: str
    pixel_values: int
    steps: int
    evaluations: tuple[int, int]
    resolution: float

    @property
    def min_queries(self) -> int:
        """Number of queries for a walk without steps."""
        return self._first_queries + 1

    def run(
        self,
        oracle: Oracle,
        batch: BoundaryBatch,
        start: WalkState,
        limits: tuple[tf.Tensor, tf.Tensor],
        active: tf.Tensor,
    ) -> WalkState:
        """Walk from adversarial starting points; return the state at the end.

        Args:
          oracle: see `Oracle`.
          batch: the images.
          start: `point` is the starting point and `best` the result for images that do not walk.
          limits: the distance at which each image is finished, float32 [N], and the largest
            number of queries, int32 [N].
          active: bool [N], the images that walk.
        """

        def arrive(number: tf.Tensor, state: WalkState, constants: _WalkConstants) -> _StepResult:
            del number
            state = self._arrive(oracle, constants.batch, state)
            return state, self._is_unfinished(state, constants)

        def step(number: tf.Tensor, state: WalkState, constants: _WalkConstants) -> _StepResult:
            state = self._step(oracle, constants, number, state)
            return state, self._is_unfinished(state, constants)

        def cross(number: tf.Tensor, state: WalkState, constants: _WalkConstants) -> _StepResult:
            del number
            state = self._cross(oracle, constants, state)
            return state, tf.zeros_like(state.queries, tf.bool)

        constants = _WalkConstants(batch, *limits)
        state = masked_while_loop(arrive, start, active, 1, constants)
        unfinished = active & self._is_unfinished(state, constants)
        state = masked_while_loop(step, state, unfinished, self.steps, constants)
        return masked_while_loop(cross, state, active, 1, constants)

    def _arrive(self, oracle: Oracle, batch: BoundaryBatch, state: WalkState) -> WalkState:
        """Return the state after the search from the starting point to the boundary."""
        point = state.point
        if self.norm == "linf":
            point = search_boundary(oracle, batch, point, "l2", _FIRST_HALVINGS)
        point = search_boundary(oracle, batch, point, self.norm, self._halvings)
        size = norms.lp_norm(point - batch.images, self.norm)
        return WalkState(point, point, size, state.queries + self._first_queries)

    def _step(
        self, oracle: Oracle, constants: _WalkConstants, number: tf.Tensor, state: WalkState
    ) -> WalkState:
        """Return the state after one step of algorithm 2."""
        batch, point = constants.batch, state.point
        size = norms.lp_norm(point - batch.images, self.norm)
        root = tf.sqrt(tf.cast(number + 1, tf.float32))
        first, most = self.evaluations
        wanted = tf.cast(tf.minimum(first * root, float(most)), tf.int32)
        samples = NoiseSamples(
            radius=self._noise_length(size, number),
            count=tf.minimum(wanted, self._left_for_noise(state, constants)),
            stream=state.queries,
        )
        normal = estimate_normal(oracle, batch, point, samples, self.norm)
        length = norms.expand_per_image(size / root)
        direction = norms.steepest_direction(normal, self.norm)
        point, tries = step_along(oracle, batch, point, length * direction, _STEP_TRIES)
        point = search_boundary(oracle, batch, point, self.norm, self._halvings)
        size = norms.lp_norm(point - batch.images, self.norm)
        nearer = size < state.best_size
        return WalkState(
            point,
            best=tf.where(norms.expand_per_image(nearer), point, state.best),
            best_size=tf.where(nearer, size, state.best_size),
            queries=state.queries + samples.count + tries + self._halvings,
        )

    def _cross(self, oracle: Oracle, constants: _WalkConstants, state: WalkState) -> WalkState:
        """Return the state with the nearest point moved beyond the boundary; it costs one query."""
        images = constants.batch.images
        beyond = _OVERSHOOT * (state.best - images)
        moved, queries = step_along(oracle, constants.batch, state.best, beyond, 1)
        # Projection into the ball would move a point that left it back across the boundary.
        is_inside = state.best_size <= constants.radius
        leaves = is_inside & (norms.lp_norm(moved - images, self.norm) > constants.radius)
        best = tf.where(norms.expand_per_image(leaves), state.best, moved)
        return state._replace(best=best, queries=state.queries + queries)

    def _noise_length(self, size: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """Return the length of the noise in a step, float32 [N] (section III-C)."""
        smallest = _SMALLEST_NOISE_PER_PIXEL * math.sqrt(self.pixel_values)
        length = tf.where(number == 0, _FIRST_NOISE, self.resolution / self.pixel_values * size)
        return tf.maximum(length, smallest)

    @property
    def _halvings(self) -> int:
        """Number of halvings of a search."""
        exponent = 1.5 if self.norm == "l2" else 2.0
        threshold = self.resolution / self.pixel_values**exponent
        return min(max(math.ceil(-math.log2(threshold)), 1), _MAX_HALVINGS)

    @property
    def _first_queries(self) -> int:
        """Number of queries between the starting point and the first step."""
        return self._halvings + (_FIRST_HALVINGS if self.norm == "linf" else 0)

    def _left_for_noise(self, state: WalkState, constants: _WalkConstants) -> tf.Tensor:
        """Return how many neighbours each image may query in the next step, int32 [N]."""
        reserved = _STEP_TRIES + self._halvings + 1
        return constants.last_query - state.queries - reserved

    def _is_unfinished(self, state: WalkState, constants: _WalkConstants) -> tf.Tensor:
        """Return bool [N]: True if the nearest point is not near enough and queries are left."""
        outside = state.best_size * (1 + _OVERSHOOT) > constants.radius
        return outside & (self._left_for_noise(state, constants) >= 1)
