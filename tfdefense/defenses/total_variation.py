"""Total variation minimisation: drops random pixels and returns the smoothest image near the rest.

Guo, Rana, Cisse, van der Maaten, "Countering Adversarial Images using Input Transformations", ICLR
2018, section 3.2, equation (2), with p = 2. X is a random binary mask of dropped pixels:

    min_z ||(1 - X) * (z - x)||_2 + lambda TV_2(z)                                       (2)
    TV_2(z) = sum_k [ sum_i ||z(i, :, k) - z(i-1, :, k)||_2
                    + sum_j ||z(:, j, k) - z(:, j-1, k)||_2 ]

Each channel k is minimised separately, as in the Adversarial Robustness Toolbox (ART), which the
APE-GAN++ paper used. ART's default lambda is 0.5, but its solver stops after ten iterations, far from
the minimum. At the minimum, 0.5 leaves little of a digit; 0.1 preserves it, and the accuracy under
FGSM is that of the paper's table III. ART's default keeps 0.3 of the values and drops 0.7; here it
drops 0.3 (docs/results/differences.md compares both). This defence does not learn.
"""

import dataclasses
import functools

import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.bpda import bpda
from tfdefense.defenses.core.hyperparameters import check_not_negative, hyperparameter
from tfdefense.defenses.core.randomized_defense import RandomizedDefense
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class TotalVariationConfig:
    """Hyperparameters of total variation minimisation."""

    forgotten: float = hyperparameter(0.3, "fraction of dropped pixels, in [0, 1)")
    tv_weight: float = hyperparameter(0.1, "lambda, weight of the total variation")
    iterations: int = hyperparameter(100, "iterations of the solver")

    def __post_init__(self) -> None:
        dropped, iterations = self.forgotten, self.iterations
        require(0 <= dropped < 1, f"--forgotten={dropped}: a number in [0, 1) is needed.")
        check_not_negative(self, "tv_weight")
        require(iterations >= 1, f"--iterations={iterations}: at least 1 is needed.")


class TotalVariation(RandomizedDefense):
    """Total variation minimisation of images with dropped pixels.

    The mask is a function of the image, of `seed` and of the draw: the result for an image does not
    depend on its batch, and an image that differs in one bit has another mask. Attacks use the
    identity as the gradient (BPDA).
    """

    name = "total_variation"
    summary = "Random pixel dropout and the smoothest image near the rest (Guo et al. 2018)"
    config_type = TotalVariationConfig
    config: TotalVariationConfig

    def purify(self, images: tf.Tensor, draw: int | tf.Tensor | None = None) -> tf.Tensor:
        return bpda(functools.partial(self._drop_and_minimize, draw=draw))(images)

    def _drop_and_minimize(self, images: tf.Tensor, draw: int | tf.Tensor | None) -> tf.Tensor:
        keys = per_image_random.image_keys(images, self.seed, draw)
        draws = per_image_random.uniform(keys, list(images.shape[1:]), stream=0)
        mask = tf.cast(draws >= self.config.forgotten, tf.float32)
        minimum = minimize_objective(images, mask, self.config.tv_weight, self.config.iterations)
        return tf.clip_by_value(minimum, 0.0, 1.0)


def objective(
    candidates: tf.Tensor, images: tf.Tensor, mask: tf.Tensor, weight: float
) -> tf.Tensor:
    """Return the value of equation (2) per image and channel, float32 [N, C].

    Args:
      candidates: z, float32 [N, H, W, C].
      images: x, float32 [N, H, W, C].
      mask: 1 - X, float32 [N, H, W, C]; 0 for a dropped pixel, else 1.
      weight: lambda.
    """
    distance = _length(mask * (candidates - images), (1, 2))
    rows = _length(_row_differences(candidates), (2,))
    columns = _length(_column_differences(candidates), (1,))
    variation = tf.reduce_sum(rows, axis=(1, 2)) + tf.reduce_sum(columns, axis=(1, 2))
    return distance[:, 0, 0, :] + weight * variation


def minimize_objective(
    images: tf.Tensor, mask: tf.Tensor, weight: float, iterations: int
) -> tf.Tensor:
    """Return the minimiser z of `objective`, float32 [N, H, W, C].

    Primal-dual method: Chambolle, Pock, "A First-Order Primal-Dual Algorithm for Convex Problems
    with Applications to Imaging", 2011, algorithm 1. The objective is a sum of lengths ||K z - b||,
    and the dual of a length is the unit ball. So each iteration is a gradient step in the dual
    variables, a projection to the unit ball, and a gradient step in z.

    Args:
      images, mask, weight: see `objective`.
      iterations: number of iterations.
    """
    # The method converges if the product of both step sizes is at most 1 / ||K||^2.
    step_size = 1.0 / (1.0 + 8.0 * weight**2) ** 0.5

    def iterate(number: tf.Tensor, primal: tuple, dual: tuple) -> tuple[tf.Tensor, tuple, tuple]:
        z, extrapolated = primal
        distance, rows, columns = dual
        row_differences = _row_differences(extrapolated)
        column_differences = _column_differences(extrapolated)
        distance = _project(distance + step_size * mask * (extrapolated - images), (1, 2))
        rows = _project(rows + step_size * weight * row_differences, (2,))
        columns = _project(columns + step_size * weight * column_differences, (1,))
        gradient = mask * distance + weight * (_row_adjoint(rows) + _column_adjoint(columns))
        moved = z - step_size * gradient
        return number + 1, (moved, 2.0 * moved - z), (distance, rows, columns)

    zeros = tf.zeros_like(images)
    start = (tf.constant(0), (images, images), (zeros, zeros[:, 1:], zeros[:, :, 1:]))
    _, (z, _), _ = tf.while_loop(
        lambda number, *_: number < iterations, iterate, start, maximum_iterations=iterations
    )
    return z


def _row_differences(images: tf.Tensor) -> tf.Tensor:
    return images[:, 1:] - images[:, :-1]


def _column_differences(images: tf.Tensor) -> tf.Tensor:
    return images[:, :, 1:] - images[:, :, :-1]


def _row_adjoint(rows: tf.Tensor) -> tf.Tensor:
    """Return the adjoint of `_row_differences`."""
    before = tf.pad(rows, [[0, 0], [1, 0], [0, 0], [0, 0]])
    after = tf.pad(rows, [[0, 0], [0, 1], [0, 0], [0, 0]])
    return before - after


def _column_adjoint(columns: tf.Tensor) -> tf.Tensor:
    """Return the adjoint of `_column_differences`."""
    before = tf.pad(columns, [[0, 0], [0, 0], [1, 0], [0, 0]])
    after = tf.pad(columns, [[0, 0], [0, 0], [0, 1], [0, 0]])
    return before - after


def _length(values: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=axes, keepdims=True))


def _project(values: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """Return the nearest point with length at most 1 along `axes`."""
    return values / tf.maximum(_length(values, axes), 1.0)
