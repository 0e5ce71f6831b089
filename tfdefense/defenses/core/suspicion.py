"""Suspicion of an image: the share of clean images that a defence changed less.

The change is the L2 norm of what purifying changed. A defence with a detector also scores images,
so an image has a rank in each of the two, and the larger one counts:

    share(x; X) = |{i: X_i < x}| / n
    suspicion = share(max(share(change; changes), share(score; scores)); the same of clean images)

The outer share makes both cases alike: on the n clean images themselves, suspicion is uniform on
0, 1/n, ..., (n - 1)/n, up to ties. It has no gradient, but an attacker can keep the change small.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.utils.batch_size import fitting_batch_size
from tfdefense.utils.progress import ProgressBar

# Their values are constants of an exported graph, 4 kB each.
MAX_IMAGES = 1_000
_NOISE_IMAGES = 4


@dataclasses.dataclass(frozen=True)
class SuspicionScale:
    """Values of n clean images, with which the suspicion of any image is computed.

    Attributes:
      changes: L2 norms of their change by purifying, float32 [n], ascending.
      scores: their detector scores, float32 [n], ascending; None without a detector.
      ranks: the larger of both ranks of each image, int32 [n], ascending; None without a detector.
      images: description of the images.
    """

    changes: np.ndarray
    scores: np.ndarray | None = None
    ranks: np.ndarray | None = None
    images: str = "clean images"

    @classmethod
    def from_values(
        cls, changes: np.ndarray, scores: np.ndarray | None, images: str = "clean images"
    ) -> "SuspicionScale":
        """Return the scale of clean images.

        Args:
          changes: L2 norms of their change by purifying, float32 [n]; NaN counts as infinite.
          scores: their detector scores, float32 [n]; None without a detector. NaN counts as infinite.
          images: description of the images.
        """
        changes = np.where(np.isnan(changes), np.float32(np.inf), changes)
        scores = None if scores is None else np.where(np.isnan(scores), np.float32(np.inf), scores)
        if scores is None:
            return cls(np.sort(changes), images=images)
        ordered = np.sort(changes), np.sort(scores)
        ranks = np.maximum(
            np.searchsorted(ordered[0], changes), np.searchsorted(ordered[1], scores)
        )
        return cls(*ordered, np.sort(ranks).astype(np.int32), images)

    def __len__(self) -> int:
        return len(self.changes)

    def __call__(self, changes: tf.Tensor, scores: tf.Tensor | None = None) -> tf.Tensor:
        """Return the suspicion of images, float32 [N] in [0, 1], each a multiple of 1/n.

        A change or score that is NaN is above all others.

        Args:
          changes: L2 norms of their change by purifying, float32 [N].
          scores: their detector scores, float32 [N]; not used without a detector.
        """
        ranks = _count_below(self.changes, changes)
        if self.scores is not None and self.ranks is not None:
            ranks = tf.maximum(ranks, _count_below(self.scores, scores))
            ranks = _count_below(self.ranks, ranks)
        # A table, because graph optimisers replace a division by a multiplication, which rounds
        # otherwise: 0.99 could be below an alarm at 0.99.
        shares = np.arange(len(self) + 1, dtype=np.float32) / np.float32(len(self))
        return tf.gather(shares, ranks)


def change_norms(images: tf.Tensor, purified: tf.Tensor) -> tf.Tensor:
    """Return the L2 norms of the change by purifying, float32 [N].

    Args:
      images, purified: float32 [N, H, W, C].
    """
    return tf.norm(tf.reshape(purified - images, [tf.shape(images)[0], -1]), axis=1)


def calibrate_suspicion(defense: Defense, clean: Split) -> SuspicionScale | None:
    """Return the scale of a defence, from at most `MAX_IMAGES` clean images, evenly spaced.

    Only this process computes it; all workers of a distributed program get the same scale.

    Args:
      defense: trained defence.
      clean: held-out images.

    Returns:
      None if the defence changes neither these images nor random noise and has no detector.

    Raises:
      UserError: the images have another shape than those of the defence.
    """
    require(
        clean.image_shape == defense.classifier.image_shape,
        f"suspicion: images of {clean.image_shape} given, {defense.classifier.image_shape} needed.",
    )
    count = min(len(clean), MAX_IMAGES, defense.budget.images or MAX_IMAGES)
    split = clean.select(np.linspace(0, len(clean) - 1, count).round().astype(np.int64))
    changes, scores = measure_changes(defense, np.asarray(split.images[:]))
    if scores is None and not np.any(changes):
        noise = np.random.default_rng(0).random((_NOISE_IMAGES, *clean.image_shape), np.float32)
        if not np.any(measure_changes(defense, noise)[0]):
            return None
    return SuspicionScale.from_values(changes, scores, f"validation images of {clean.dataset}")


def measure_changes(defense: Defense, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what the suspicion of images is computed from.

    Args:
      defense: trained defence.
      images: float32 [n, H, W, C] in [0, 1].

    Returns:
      L2 norms of the change by purifying, float32 [n]; detector scores float32 [n], or None without
      a detector.
    """

    def measure(batch: tf.Tensor) -> list[tf.Tensor]:
        values = [change_norms(batch, defense.purify(batch))]
        return [*values, defense.detector_score(batch)] if defense.detects else values

    signature = [tf.TensorSpec([None, *images.shape[1:]], tf.float32)]
    compiled = tf.function(measure, input_signature=signature, autograph=False)
    size = fitting_batch_size(images.shape[1:], defense.batch_size)
    parts = []
    with ProgressBar("measuring changes", len(images)) as progress:
        for start in range(0, len(images), size):
            parts.append(compiled(tf.constant(images[start : start + size])))
            progress.advance(min(size, len(images) - start))
    joined = [np.concatenate(values) for values in zip(*parts, strict=True)]
    return joined[0], joined[1] if defense.detects else None


def _count_below(ordered: np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """Return how many of `ordered` [n] are below each value [N], int32 [N]; all are below NaN."""
    values = tf.cast(values, ordered.dtype)  # A bfloat16 model has scores in bfloat16.
    # NaN is not below anything. The other images are counted because graph optimisers may replace
    # "not at least" by "below".
    is_at_least = tf.constant(ordered)[tf.newaxis] >= tf.expand_dims(values, 1)
    return len(ordered) - tf.reduce_sum(tf.cast(is_at_least, tf.int32), axis=1)
