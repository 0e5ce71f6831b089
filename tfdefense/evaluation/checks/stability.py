"""Probes that look at the logits of a pipeline: alone, again, with small noise, and after rounding."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.losses import margin
from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.checks.sizes import SMALL_NOISE_DRAWS
from tfdefense.evaluation.runner import ModelRunner, RunnableModel

_NOISE_SEED = 2
_LEVELS = 255  # Steps between black and white in an image file of 8 bits.


def compare_alone(runner: ModelRunner[RunnableModel], split: Split) -> tuple[int, float]:
    """Compare each image alone with the same image in a batch.

    Returns:
      The number of images whose class changes, and the largest difference of two logits in units of
      the largest logit.
    """
    together = runner.run_batches(runner.model, split)
    alone = [
        runner.run_batches(runner.model, split.select(np.array([row]))) for row in range(len(split))
    ]
    return _difference(together, np.concatenate(alone))


def compare_repeated(runner: ModelRunner[RunnableModel], split: Split) -> tuple[int, float]:
    """Compare two calls with the same images; results as in `compare_alone`."""
    return _difference(*(runner.run_batches(runner.model, split) for _ in range(2)))


def margin_change(runner: ModelRunner[RunnableModel], split: Split, radius: float) -> np.ndarray:
    """Return the mean relative change of the margin under small noise, float64 [n] in [0, 1].

    The margin is the logit of the label minus the highest other logit. A change by more than the
    margin itself counts as 1.

    Args:
      runner: runs the pipeline.
      split: the images.
      radius: L-infinity radius of the noise, which is uniform.
    """
    images = tf.constant(split.images)
    keys = per_image_random.image_keys(images, _NOISE_SEED)
    before = _margins(runner, split)
    changes = []
    for draw in range(SMALL_NOISE_DRAWS):
        noise = 2 * per_image_random.uniform(keys, list(images.shape[1:]), stream=draw) - 1
        noisy = tf.clip_by_value(images + radius * noise, 0.0, 1.0).numpy()
        after = _margins(runner, dataclasses.replace(split, images=noisy))
        changes.append(np.abs(after - before) / np.maximum(np.abs(before), 1e-12))
    return np.mean(np.minimum(changes, 1), axis=0)


def round_to_levels(images: np.ndarray) -> np.ndarray:
    """Return images as a file of 8 bits stores them, float32 in [0, 1]."""
    return (np.round(images * _LEVELS) / _LEVELS).astype(np.float32)


def _margins(runner: ModelRunner[RunnableModel], split: Split) -> np.ndarray:
    logits = tf.constant(runner.run_batches(runner.model, split))
    return margin(tf.constant(split.labels, tf.int32), logits).numpy()


def _difference(first: np.ndarray, second: np.ndarray) -> tuple[int, float]:
    changed = np.argmax(first, axis=-1) != np.argmax(second, axis=-1)
    return int(changed.sum()), float(np.abs(first - second).max() / np.abs(first).max())
