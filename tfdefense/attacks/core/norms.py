"""Sizes of changes, image by image; a change is float32 [N, H, W, C]."""

import math
from collections.abc import Sequence

import tensorflow as tf

from tfdefense.errors import require, unknown_name

NORMS = ("linf", "l2")
_PIXELS = (1, 2, 3)


def check_norm(norm: str, attack: str, allowed: Sequence[str] = NORMS) -> None:
    """Raises `UserError` unless `norm` is one that `attack` knows."""
    if norm not in allowed:
        raise unknown_name(f"{attack}: norm", norm, allowed)


def check_radius(epsilon: float, norm: str, attack: str) -> None:
    """Raises `UserError` unless `epsilon` is a radius that `norm` allows."""
    most, allowed = (1.0, "in [0, 1]") if norm == "linf" else (math.inf, "of 0 or more")
    require(
        0 <= epsilon <= most and math.isfinite(epsilon),
        f"{attack}: epsilon {epsilon:g} given, a number {allowed} needed.",
    )


def l0(change: tf.Tensor) -> tf.Tensor:
    """Pixels changed in any channel: int32 [N]."""
    changed = tf.reduce_any(change != 0, axis=-1)
    return tf.reduce_sum(tf.cast(changed, tf.int32), axis=(1, 2))


def l1(change: tf.Tensor) -> tf.Tensor:
    """Sum of all changes without their signs, float32 [N]."""
    return tf.reduce_sum(tf.abs(change), axis=_PIXELS)


def l2(change: tf.Tensor) -> tf.Tensor:
    """Euclidean length, float32 [N]."""
    return tf.sqrt(tf.reduce_sum(tf.square(change), axis=_PIXELS))


def linf(change: tf.Tensor) -> tf.Tensor:
    """Largest change of a value, float32 [N]."""
    return tf.reduce_max(tf.abs(change), axis=_PIXELS)


def lp_norm(change: tf.Tensor, norm: str) -> tf.Tensor:
    """`linf` or `l2` of a change, float32 [N]."""
    return linf(change) if norm == "linf" else l2(change)


def dual_norm(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """The most that a change of size 1 in `norm` makes of a linear function: float32 [N]."""
    if norm == "linf":
        return tf.reduce_sum(tf.abs(gradient), axis=_PIXELS)
    return l2(gradient)


def steepest_direction(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """The change of size 1 that makes that most; zero where the gradient is."""
    if norm == "linf":
        return tf.sign(gradient)
    # In two steps, for the squares of a confident model's gradients underflow.
    scaled = tf.math.divide_no_nan(gradient, expand_per_image(linf(gradient)))
    return tf.math.divide_no_nan(scaled, expand_per_image(l2(scaled)))


def expand_per_image(values: tf.Tensor) -> tf.Tensor:
    """[N] -> [N, 1, 1, 1], to be multiplied with images."""
    return values[:, None, None, None]


def default_epsilon(image_shape: tuple[int, int, int], norm: str = "linf") -> float:
    """The usual radius, for grey images (MNIST) and colour (CIFAR-10): 0.3 and 8/255, in "l2" 1.5 and 0.5."""
    grey, colour = (0.3, 8 / 255) if norm == "linf" else (1.5, 0.5)
    return grey if image_shape[-1] == 1 else colour
