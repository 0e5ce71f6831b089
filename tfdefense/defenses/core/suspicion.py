"""Suspicion of an image: the share of clean images that purifying changed less.

Purifying changes an image, by an L2 norm, and with it the answer of the classifier, by the total
variation distance of its class probabilities. A defence with a detector also scores images. So an
image has a rank in each of two or three values, and the largest rank counts:

    share(x; X) = |{i: X_i < x}| / n
    suspicion = share(max over values v of share(v; v of the clean images); the same of clean images)

The outer share makes all cases alike: on the n clean images themselves, suspicion is uniform on
0, 1/n, ..., (n - 1)/n, up to ties, of which the lowest counts. It has no gradient, but an attacker
can keep the values small.

Meng and Chen, "MagNet: a Two-Pronged Defense against Adversarial Examples", CCS 2017, section
4.2.2, use the difference of the two answers as a sign of an attack.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.defenses.core.defense import Classifier, DefendedClassifier, Defense
from tfdefense.errors import require
from tfdefense.utils.batch_size import fitting_batch_size
from tfdefense.utils.progress import ProgressBar

# Their values are constants of an exported graph, 4 kB each.
MAX_IMAGES = 1_000
# Smaller distances count as none, because rounding would decide about their ranks.
SMALLEST_DISAGREEMENT = 1e-3
_NOISE_IMAGES = 4


@dataclasses.dataclass(frozen=True)
class SuspicionScale:
    """Values of n clean images, with which the suspicion of any image is computed.

    Attributes:
      values: "change", "disagreement" and, with a detector, "score" -> those of the clean images,
        float32 [n], ascending; see `suspicion_values`.
      ranks: the largest rank of each image, int32 [n], ascending.
      images: description of the images.
    """

    values: Mapping[str, np.ndarray]
    ranks: np.ndarray
    images: str = "clean images"

    @classmethod
    def from_values(
        cls, values: Mapping[str, np.ndarray], images: str = "clean images"
    ) -> "SuspicionScale":
        """Return the scale of clean images.

        Args:
          values: see `suspicion_values`; NaN counts as infinite.
          images: description of the images.
        """
        finite = {
            name: np.where(np.isnan(each), np.float32(np.inf), each)
            for name, each in values.items()
        }
        ordered = {name: np.sort(each) for name, each in finite.items()}
        ranks = [np.searchsorted(ordered[name], each) for name, each in finite.items()]
        return cls(ordered, np.sort(np.max(ranks, axis=0)).astype(np.int32), images)

    def __len__(self) -> int:
        return len(self.ranks)

    def __call__(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the suspicion of images, float32 [N] in [0, 1], each a multiple of 1/n.

        A value that is NaN is above all others.

        Args:
          values: at least those of `values`, see `suspicion_values`.
        """
        ranks = [_count_below(ordered, values[name]) for name, ordered in self.values.items()]
        below = _count_below(self.ranks, tf.reduce_max(tf.stack(ranks), axis=0))
        # A table, because graph optimisers replace a division by a multiplication, which rounds
        # otherwise: 0.99 could be below an alarm at 0.99.
        shares = np.arange(len(self) + 1, dtype=np.float32) / np.float32(len(self))
        return tf.gather(shares, below)


def suspicion_values(
    defense: Defense,
    classifier: Classifier,
    images: tf.Tensor,
    purified: tf.Tensor,
    logits: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Return what the suspicion of images is computed from, each float32 [N].

    Args:
      defense: trained defence.
      classifier: classifier behind it.
      images: float32 [N, H, W, C] in [0, 1].
      purified: the same images, purified.
      logits: logits of the pipeline [N, K].

    Returns:
      "change": L2 norms of what purifying changed; "disagreement": `total_variation_distances` of
      classifier and pipeline; with a detector, "score": its scores.
    """
    values = purifying_changes(classifier, images, purified, logits)
    return {**values, "score": defense.detector_score(images)} if defense.detects else values


def purifying_changes(
    classifier: Classifier, images: tf.Tensor, purified: tf.Tensor, logits: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Return "change" and "disagreement" of `suspicion_values`; arguments as there."""
    return {
        "change": change_norms(images, purified),
        "disagreement": total_variation_distances(classifier(images), logits),
    }


def change_norms(images: tf.Tensor, purified: tf.Tensor) -> tf.Tensor:
    """Return the L2 norms of the change by purifying, float32 [N].

    Args:
      images, purified: float32 [N, H, W, C].
    """
    return tf.norm(tf.reshape(purified - images, [tf.shape(images)[0], -1]), axis=1)


def total_variation_distances(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return the total variation distances of two softmaxes, float32 [N] in [0, 1].

    Those below `SMALLEST_DISAGREEMENT` are 0.

    Args:
      logits, others: [N, K].
    """
    first, second = (tf.nn.softmax(tf.cast(each, tf.float32)) for each in (logits, others))
    distances = 0.5 * tf.reduce_sum(tf.abs(first - second), axis=-1)
    return tf.where(distances < SMALLEST_DISAGREEMENT, 0.0, distances)


def calibrate_suspicion(pipeline: DefendedClassifier, clean: Split) -> SuspicionScale | None:
    """Return the scale of a pipeline, from at most `MAX_IMAGES` clean images, evenly spaced.

    Only this process computes it; all workers of a distributed program get the same scale.

    Args:
      pipeline: trained defence and its classifier.
      clean: held-out images.

    Returns:
      None if the defence changes neither these images nor random noise and has no detector.

    Raises:
      UserError: the images have another shape than those of the classifier.
    """
    defense, shape = pipeline.defense, pipeline.classifier.image_shape
    require(
        clean.image_shape == shape,
        f"suspicion: images of {clean.image_shape} given, {shape} needed.",
    )
    count = min(len(clean), MAX_IMAGES, defense.budget.images or MAX_IMAGES)
    split = clean.select(np.linspace(0, len(clean) - 1, count).round().astype(np.int64))
    values = measure_suspicion_values(pipeline, split.images)
    if not defense.detects and not np.any(values["change"]):
        noise = np.random.default_rng(0).random((_NOISE_IMAGES, *shape), np.float32)
        if not np.any(measure_suspicion_values(pipeline, noise)["change"]):
            return None
    return SuspicionScale.from_values(values, f"validation images of {clean.dataset}")


def measure_suspicion_values(
    pipeline: DefendedClassifier, images: np.ndarray | DiskArray
) -> dict[str, np.ndarray]:
    """Return `suspicion_values` of n images as arrays [n].

    Args:
      pipeline: trained defence and its classifier.
      images: float32 [n, H, W, C] in [0, 1]; read batch by batch.
    """
    defense, classifier = pipeline.defense, pipeline.classifier

    def measure(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        purified, logits = pipeline.purify_and_classify(batch)
        return suspicion_values(defense, classifier, batch, purified, logits)

    signature = [tf.TensorSpec([None, *images.shape[1:]], tf.float32)]
    compiled = tf.function(measure, input_signature=signature, autograph=False)
    size = fitting_batch_size(images.shape[1:], defense.batch_size)
    parts = []
    with ProgressBar("measuring changes", len(images)) as progress:
        for start in range(0, len(images), size):
            parts.append(compiled(tf.constant(images[start : start + size])))
            progress.advance(min(size, len(images) - start))
    return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}


def _count_below(ordered: np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """Return how many of `ordered` [n] are below each value [N], int32 [N]; all are below NaN."""
    values = tf.cast(values, ordered.dtype)  # A bfloat16 model has scores in bfloat16.
    # NaN is not below anything. The other images are counted because graph optimisers may replace
    # "not at least" by "below".
    is_at_least = tf.constant(ordered)[tf.newaxis] >= tf.expand_dims(values, 1)
    return len(ordered) - tf.reduce_sum(tf.cast(is_at_least, tf.int32), axis=1)
