"""Projected gradient descent that records what happens at every step, for checks."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.cleverhans_backend import project_to_ball
from tfdefense.attacks.core.criteria import is_misclassified
from tfdefense.attacks.core.input_gradients import is_zero, loss_gradient
from tfdefense.attacks.core.losses import cross_entropy, margin
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.pgd import random_perturbation
from tfdefense.data.core.dataset import Split
from tfdefense.utils.batch_size import fitting_batch_size

CLEAN_START = -1


@dataclasses.dataclass(frozen=True)
class PGDRun:
    """Settings of one run.

    Attributes:
      epsilon: L-infinity radius.
      step_size: length of a step, in units of the images.
      steps: number of steps.
      start: `CLEAN_START` starts at the images. Any other number starts at a random point of its
        own; 0 at that of `attacks.PGD`.
      margin_loss: increase the margin loss (the highest wrong logit minus the logit of the label)
        in place of the cross-entropy.
      stop_at_success: stop an image as soon as it is misclassified; what is recorded after that
        step has no meaning.
    """

    epsilon: float
    step_size: float
    steps: int
    start: int = CLEAN_START
    margin_loss: bool = False
    stop_at_success: bool = False


class PGDTrace(NamedTuple):
    """Record of S steps on N images. Point 0 is before the first step, point s after step s.

    Attributes:
      losses: loss at each point, float32 [S + 1, N].
      fooled: bool [S + 1, N], whether the image is misclassified at each point.
      no_gradient: bool [N], whether the first gradient is zero at every pixel.
      last: the images at the last point, float32 [N, H, W, C].
    """

    losses: np.ndarray
    fooled: np.ndarray
    no_gradient: np.ndarray
    last: np.ndarray


class _TraceState(NamedTuple):
    """State of each image; tensors of N rows. Records have S + 1 columns."""

    moved: tf.Tensor
    gradient: tf.Tensor
    losses: tf.Tensor
    fooled: tf.Tensor
    no_gradient: tf.Tensor


class PGDTracer:
    """Runs PGD in the L-infinity ball, as `attacks.PGD` does, and records every step.

    All runs share one compiled function: settings are tensors.

    Args:
      model: images float32 [N, H, W, C] in [0, 1] -> logits [N, K].
      batch_size: largest number of images in a batch; large images have smaller batches.
    """

    def __init__(self, model: Model, batch_size: int = 250) -> None:
        self.model = model
        self.batch_size = batch_size
        self._compiled: dict[tuple[int, ...], Callable[..., tuple]] = {}

    def run(self, split: Split, run: PGDRun) -> PGDTrace:
        """Return the trace of all images of a split."""
        batch_size = fitting_batch_size(split.image_shape, self.batch_size)
        parts = range(0, len(split), batch_size)
        traces = [self._run_batch(split, slice(start, start + batch_size), run) for start in parts]
        joined = [np.concatenate(field) for field in zip(*traces, strict=True)]
        return PGDTrace(joined[0].T, joined[1].T, *joined[2:])

    def fooled(self, split: Split, run: PGDRun) -> np.ndarray:
        """Return bool [N]: images that are misclassified at some point of the run."""
        run = dataclasses.replace(run, stop_at_success=True)
        return np.any(self.run(split, run).fooled, axis=0)

    def _run_batch(self, split: Split, part: slice, run: PGDRun) -> tuple[np.ndarray, ...]:
        images, labels = split.images[part], split.labels[part]
        settings = (
            tf.constant([run.epsilon, run.step_size], tf.float32),
            tf.constant([run.steps, run.start]),
            tf.constant([run.margin_loss, run.stop_at_success]),
        )
        compiled = self._compile(images.shape[1:])
        traced = compiled(tf.constant(images), tf.constant(labels, tf.int32), *settings)
        return tuple(tensor.numpy() for tensor in traced)

    def _compile(self, image_shape: tuple[int, ...]) -> Callable[..., tuple]:
        """Return the function that traces runs on images of this shape, for any number of images."""
        if image_shape not in self._compiled:
            signature = (
                tf.TensorSpec([None, *image_shape], tf.float32),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([2], tf.float32),
                tf.TensorSpec([2], tf.int32),
                tf.TensorSpec([2], tf.bool),
            )
            function = tf.function(self._trace, autograph=False)
            self._compiled[image_shape] = function.get_concrete_function(*signature)
        return self._compiled[image_shape]

    def _trace(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        radii: tf.Tensor,
        counts: tf.Tensor,
        options: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Return the fields of `PGDTrace`, records as [N, S + 1]."""
        (epsilon, step_size), (steps, start) = tf.unstack(radii), tf.unstack(counts)
        margin_loss, stop_at_success = tf.unstack(options)

        def evaluate(moved: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            def loss(logits: tf.Tensor) -> tf.Tensor:
                return tf.where(margin_loss, -margin(labels, logits), cross_entropy(labels)(logits))

            losses, logits, gradient = loss_gradient(self.model, moved, loss)
            return losses, is_misclassified(logits, labels), gradient

        def record(column: tf.Tensor, records: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
            return tf.where(tf.range(steps + 1) == column, values[:, tf.newaxis], records)

        def step(
            number: tf.Tensor, state: _TraceState, constants: tuple[tf.Tensor, tf.Tensor]
        ) -> tuple[_TraceState, tf.Tensor]:
            clean, labels = constants
            moved = state.moved + step_size * tf.sign(state.gradient)
            moved = project_to_ball(moved, clean, epsilon, "linf")
            losses, fooled, gradient = evaluate(moved, labels)
            state = state._replace(
                moved=moved,
                gradient=gradient,
                losses=record(number + 1, state.losses, losses),
                fooled=record(number + 1, state.fooled, fooled),
            )
            return state, ~(stop_at_success & fooled)

        keys = per_image_random.image_keys(images, seed=0)
        radius = tf.reshape(epsilon, [1, 1, 1, 1])
        change = random_perturbation(keys, images, tf.maximum(start, 0), radius, "linf")
        drawn = project_to_ball(images + change, images, epsilon, "linf")
        moved = tf.where(start == CLEAN_START, images, drawn)
        losses, fooled, gradient = evaluate(moved, labels)
        records = tf.zeros([tf.shape(images)[0], steps + 1])
        state = _TraceState(
            moved,
            gradient,
            record(tf.constant(0), records, losses),
            record(tf.constant(0), records > 0, fooled),
            is_zero(gradient),
        )
        active = ~(stop_at_success & fooled)
        state = masked_while_loop(step, state, active, steps, (images, labels))
        return state.losses, state.fooled, state.no_gradient, state.moved
