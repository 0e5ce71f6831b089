"""Norms of perturbations, one per image; a perturbation is float32 [N, H, W, C]."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfdefense.errors import require, unknown_name

NORMS = ("linf", "l2")
_IMAGE_AXES = (1, 2, 3)


def check_norm(norm: str, attack: str, allowed: Sequence[str] = NORMS) -> None:
    """Raise `UserError` unless `norm` is one of the norms that `attack` allows."""
    if norm not in allowed:
        raise unknown_name(f"{attack}: norm", norm, allowed)


def check_radius(epsilon: float, norm: str, attack: str) -> None:
    """Raise `UserError` unless `epsilon` is a radius that `norm` allows."""
    highest, allowed = (1.0, "in [0, 1]") if norm == "linf" else (math.inf, "of 0 or more")
    require(
        0 <= epsilon <= highest and math.isfinite(epsilon),
        f"{attack}: epsilon {epsilon:g} given, a number {allowed} needed.",
    )


def broadcast_radius(epsilon: float | tf.Tensor, count: int, norm: str, attack: str) -> tf.Tensor:
    """Return the radius of each of `count` images, float32 [count, 1, 1, 1].

    Args:
      epsilon: one number, or a tensor with one radius per image.
      count: number of images.
      norm: norm of the ball.
      attack: name of the attack, for error messages.

    Raises:
      UserError: `epsilon` is a tensor with another number of radii, or with one out of range.
    """
    radii = tf.reshape(tf.cast(epsilon, tf.float32), [-1, 1, 1, 1])
    require(
        len(radii) in (1, count),
        f"{attack}: epsilon for {len(radii)} images given, {count} images given.",
    )
    if has_radius_per_image(epsilon):  # The constructor of the attack has checked a number.
        for extreme in (tf.reduce_min(radii), tf.reduce_max(radii)):
            check_radius(float(extreme), norm, attack)
    return tf.broadcast_to(radii, [count, 1, 1, 1])


def spread_radius(epsilon: float | tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Return the radius of each image, float32 [N, 1, 1, 1], in a graph: nothing is checked.

    Args:
      epsilon: one number, or a tensor with one radius per image.
      images: [N, H, W, C].
    """
    shape = tf.concat([tf.shape(images)[:1], [1, 1, 1]], axis=0)
    return tf.broadcast_to(tf.cast(epsilon, tf.float32), shape)


def has_radius_per_image(epsilon: Any) -> bool:
    """Return whether `epsilon` is a tensor; a number is recognized without TensorFlow."""
    return not isinstance(epsilon, float | int | str | None) and bool(tf.is_tensor(epsilon))


def l0(perturbation: tf.Tensor) -> tf.Tensor:
    """Return the number of pixels that change in any channel, int32 [N]."""
    changed = tf.reduce_any(perturbation != 0, axis=-1)
    return tf.reduce_sum(tf.cast(changed, tf.int32), axis=(1, 2))


def l1(perturbation: tf.Tensor) -> tf.Tensor:
    """Return the sum of absolute values, float32 [N]."""
    return tf.reduce_sum(tf.abs(perturbation), axis=_IMAGE_AXES)


def l2(perturbation: tf.Tensor) -> tf.Tensor:
    """Return the Euclidean norm, float32 [N]."""
    return tf.sqrt(tf.reduce_sum(tf.square(perturbation), axis=_IMAGE_AXES))


def linf(perturbation: tf.Tensor) -> tf.Tensor:
    """Return the largest absolute value, float32 [N]."""
    return tf.reduce_max(tf.abs(perturbation), axis=_IMAGE_AXES)


def lp_norm(perturbation: tf.Tensor, norm: str) -> tf.Tensor:
    """Return the norm named "linf" or "l2", float32 [N]."""
    return linf(perturbation) if norm == "linf" else l2(perturbation)


def dual_norm(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """Return the dual norm of a gradient, float32 [N].

    It is the largest increase of a linear function by a perturbation of norm 1: the L1 norm of the
    gradient for "linf", the L2 norm for "l2".
    """
    if norm == "linf":
        return tf.reduce_sum(tf.abs(gradient), axis=_IMAGE_AXES)
    largest, scaled = scale_by_largest(gradient)
    return largest * l2(scaled)


def steepest_direction(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """Return the perturbation of norm 1 along which a linear function increases most.

    It is the sign of the gradient for "linf", the gradient divided by its length for "l2". It is
    zero for an image with a gradient of zero.
    """
    if norm == "linf":
        return tf.sign(gradient)
    _, scaled = scale_by_largest(gradient)
    return tf.math.divide_no_nan(scaled, expand_per_image(l2(scaled)))


def scale_by_largest(gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the largest absolute value, float32 [N], and the gradient divided by it.

    A gradient of zero stays zero. The squares of a confident model's gradient would underflow.
    """
    largest = linf(gradient)
    return largest, tf.math.divide_no_nan(gradient, expand_per_image(largest))


def expand_per_image(values: tf.Tensor) -> tf.Tensor:
    """Reshape one value per image, [N], to [N, 1, 1, 1], which broadcasts with images."""
    return tf.reshape(values, [-1, 1, 1, 1])  # Traced faster than a slice with new axes.


def default_epsilon(image_shape: tuple[int, int, int], norm: str = "linf") -> float:
    """Return the usual radius for images of this shape.

    For grey images (MNIST) and colour images (CIFAR-10) it is 0.3 and 8/255 in "linf", and 1.5 and
    0.5 in "l2".
    """
    grey, colour = (0.3, 8 / 255) if norm == "linf" else (1.5, 0.5)
    return grey if image_shape[-1] == 1 else colour
