"""Random images as starting points of attacks that use only the predicted class."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.decision_boundary import BoundaryBatch, Oracle
from tfdefense.attacks.core.masked_loop import masked_while_loop

# Sides in pixels of the blocks of the random images, in turn.
_BLOCK_SIDES = (1, 2, 4, 8)

StartState = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Images float32 [N, H, W, C], where they are adversarial bool [N], and queries int32 [N]."""


def find_starting_points(
    oracle: Oracle, batch: BoundaryBatch, active: tf.Tensor, max_tries: int
) -> StartState:
    """Draw random images until one is adversarial; each costs one query.

    Args:
      oracle: see `Oracle`.
      batch: the images.
      active: bool [N], the images that need a starting point.
      max_tries: largest number of random images for each image.
    """

    def attempt(
        number: tf.Tensor, state: StartState, batch: BoundaryBatch
    ) -> tuple[StartState, tf.Tensor]:
        candidates = random_images(batch, number)
        adversarial = oracle(candidates, batch)
        return (candidates, adversarial, state[2] + 1), ~adversarial

    state = (batch.images, tf.zeros_like(active), tf.zeros_like(batch.labels))
    return masked_while_loop(attempt, state, active, max_tries, batch)


def random_images(batch: BoundaryBatch, number: tf.Tensor) -> tf.Tensor:
    """Return the uniform random image with this number for each image, float32 [N, H, W, C].

    HopSkipJump draws each pixel by itself. Many classifiers give all such images one class, so
    three of four images here consist of blocks of 2, 4 or 8 pixels.
    """
    rows, columns, channels = batch.images.shape[1:]
    noise = per_image_random.uniform(batch.keys, [rows, columns, channels], number)
    side = tf.constant(_BLOCK_SIDES)[number % len(_BLOCK_SIDES)]
    noise = tf.gather(noise, tf.range(rows) // side * side, axis=1)
    return tf.gather(noise, tf.range(columns) // side * side, axis=2)


def lacks_starting_point(success: Any, linf: Any) -> np.ndarray:
    """Return bool [N]: True for an image that the attack returned unchanged and not adversarial.

    Args:
      success: bool [N]; True if the returned image is adversarial.
      linf: float32 [N], the L-infinity norms of the perturbations.
    """
    return ~np.asarray(success) & (np.asarray(linf) == 0)


def missing_starts_message(missing: int, count: int) -> str:
    """Return the warning that `missing` of `count` images have no starting point."""
    return (
        f"hop_skip_jump: no starting point for {missing:,} of {count:,} images, which are returned"
        " unchanged: every random image that was tried has their class (or another class than the"
        " target). Raise tries, or give starting points to HopSkipJump.craft_from."
    )
