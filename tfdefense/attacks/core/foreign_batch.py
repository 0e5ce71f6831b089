"""Batches that attacks of other libraries get, and the verification of what they return."""

import contextlib
import itertools
import random
import unittest.mock
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.eager.context import context as eager_context

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack_result import AttackResult
from tfdefense.data.core.dataset import check_labels
from tfdefense.errors import require

_SEED = 0
_RANDOM_STATE = ("_seed", "_rng")  # Attributes of TensorFlow's context.
# Larger violations of the ball are reported. Smaller ones are rounding.
_TOLERANCE = 1e-4


class ForeignBatch(NamedTuple):
    """Images to attack, as NumPy arrays.

    Attributes:
      images: float32 [N, H, W, C] in [0, 1].
      labels: int64 [N].
      targets: int64 [N]; None means any wrong class.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None

    @classmethod
    def from_arguments(
        cls, images: Any, labels: Any, targets: Any | None, num_classes: int
    ) -> "ForeignBatch":
        """Return the arguments of a call as arrays.

        Raises:
          UserError: labels or targets have a wrong shape, type or range, or a target is the label.
        """
        labels = np.asarray(labels)
        check_labels(labels, len(images), num_classes)
        if targets is not None:
            targets = np.asarray(targets)
            check_labels(targets, len(images), num_classes, "targets")
            same = int(np.sum(targets == labels))
            require(same == 0, f"targets: {same} of {len(labels)} equal their label.")
            targets = targets.astype(np.int64)
        return cls(np.asarray(images, np.float32), labels.astype(np.int64), targets)

    def select(self, rows: np.ndarray) -> "ForeignBatch":
        """Return the images at `rows`, indices or a mask."""
        targets = None if self.targets is None else self.targets[rows]
        return ForeignBatch(self.images[rows], self.labels[rows], targets)

    def is_fooled(self, logits: np.ndarray | tf.Tensor) -> np.ndarray:
        """Return bool [N]: True where logits [N, K] are wrong or, with targets, as aimed at."""
        predicted = np.argmax(np.asarray(logits), axis=-1)
        return predicted != self.labels if self.targets is None else predicted == self.targets

    def measure(
        self,
        logits: tf.Tensor,
        adversarial: np.ndarray,
        queries: np.ndarray,
        gradients: np.ndarray,
    ) -> AttackResult:
        """Return the result for adversarial images, from the logits of the model for them."""
        change = tf.constant(adversarial) - tf.constant(self.images)
        count = len(adversarial)
        targets = np.full(count, -1) if self.targets is None else self.targets
        return AttackResult(
            images=tf.constant(adversarial),
            success=tf.constant(self.is_fooled(logits)),
            targets=tf.constant(targets, tf.int32),
            l0=norms.l0(change),
            l2=norms.l2(change),
            linf=norms.linf(change),
            queries=tf.cast(queries, tf.int32),
            gradients=tf.cast(gradients, tf.int32),
            no_gradient=tf.zeros([count], tf.bool),
            surrogate=tf.fill([count], -1),
        )


class VerifiedImages(NamedTuple):
    """Images in [0, 1] and in the ball, and how many were not.

    Attributes:
      images: float32 [N, H, W, C].
      not_finite: number of images that were not finite; they are the clean ones now.
      outside: number of images that were outside the ball or [0, 1] by more than rounding.
    """

    images: np.ndarray
    not_finite: int
    outside: int


def verify_images(
    made: object, clean: np.ndarray, epsilon: float | None, norm: str, name: str
) -> VerifiedImages:
    """Clip images to [0, 1], and project them into the ball.

    Args:
      made: the images that a library returned.
      clean: the clean images, float32 [N, H, W, C].
      epsilon: radius of the ball; None for no ball.
      norm: "linf", "l2" or "l1".
      name: name of the attack, for error messages.

    Raises:
      UserError: there are not as many images of the same shape.
    """
    images = np.array(made, np.float32)
    require(
        images.shape == clean.shape,
        f"{name}: returned an array of shape {images.shape}, {clean.shape} needed. It is no attack on"
        " single images.",
    )
    not_finite = ~np.isfinite(images).all(axis=(1, 2, 3))
    images[not_finite] = clean[not_finite]
    clipped = np.clip(images, 0, 1)
    if epsilon is not None:
        clipped = np.clip(clean + _into_ball(clipped - clean, epsilon, norm), 0, 1)
    outside = np.abs(clipped - images).max(axis=(1, 2, 3)) > _TOLERANCE
    return VerifiedImages(clipped, int(not_finite.sum()), int(outside.sum()))


def _into_ball(change: np.ndarray, epsilon: float, norm: str) -> np.ndarray:
    """Return perturbations of at most `epsilon`: clipped in "linf", scaled in other norms."""
    if norm == "linf":
        return np.clip(change, -epsilon, epsilon)
    sizes = np.asarray((norms.l1 if norm == "l1" else norms.l2)(tf.constant(change)))
    factors = np.minimum(1, epsilon / np.maximum(sizes, 1e-12))
    return change * factors[:, None, None, None].astype(np.float32)


@contextlib.contextmanager
def seeded_libraries() -> Iterator[None]:
    """Start the random numbers of NumPy, Python and TensorFlow from a fixed seed.

    A NumPy generator that a library makes without a seed gets one, too: 0, 1, 2, ... At the end all
    random numbers resume where they were.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    tensorflow_state = _eager_random_state()
    np.random.seed(_SEED)
    random.seed(_SEED)
    tf.random.set_seed(_SEED)
    seeds = itertools.count(_SEED)

    class SeededState(np.random.RandomState):
        """Generator whose missing seed is the next number."""

        def __init__(self, seed: Any = None) -> None:
            super().__init__(next(seeds) if seed is None else seed)

    make_generator = np.random.default_rng

    def seeded_generator(seed: Any = None) -> np.random.Generator:
        return make_generator(next(seeds) if seed is None else seed)

    with (
        unittest.mock.patch.object(np.random, "RandomState", SeededState),
        unittest.mock.patch.object(np.random, "default_rng", seeded_generator),
    ):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
            vars(eager_context()).update(tensorflow_state)


def _eager_random_state() -> dict[str, Any]:
    """Return what TensorFlow draws the seeds of its eager operations from."""
    return {name: value for name, value in vars(eager_context()).items() if name in _RANDOM_STATE}
