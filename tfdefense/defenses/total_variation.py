"""Total variation minimisation: forget some pixels, and fill in the smoothest image near the others.

Guo, Rana, Cisse, van der Maaten, "Countering Adversarial Images using Input Transformations", ICLR 2018,
section 3.2, equation (2), with p = 2:

    min_z ||(1 - X) * (z - x)||_2 + lambda * TV_2(z)

X forgets pixels at random; TV_2 adds up the lengths of the differences between neighbouring rows and between
neighbouring columns. Every channel is a problem of its own, as in the Adversarial Robustness Toolbox,
in which the APE-GAN++ paper's results were made. Learns nothing.

ART's default lambda is 0.5, but its solver stops after ten iterations, far from the minimum. At the minimum
0.5 leaves little of a digit; 0.1 keeps it, and withstands FGSM as the paper's table III says.
"""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.bpda import bpda
from tfdefense.defenses.core.defense import Defense, hyperparameter
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class TotalVariationConfig:
    """Hyperparameters of total variation minimisation."""

    forgotten: float = hyperparameter(0.3, "share of pixels that are forgotten, in [0, 1)")
    tv_weight: float = hyperparameter(0.1, "lambda, weight of the total variation")
    iterations: int = hyperparameter(100, "of the solver")

    def __post_init__(self) -> None:
        require(
            0 <= self.forgotten < 1, f"--forgotten={self.forgotten}: a number in [0, 1) needed."
        )
        require(self.tv_weight >= 0, f"--tv_weight={self.tv_weight}: 0 or more needed.")
        require(self.iterations >= 1, f"--iterations={self.iterations}: at least 1 needed.")


class TotalVariation(Defense):
    """Fills in images of which some pixels are forgotten.

    Which pixels, is a function of the image and of `seed`: an image has one answer, in whatever batch it
    comes, and one that differs by a bit has another mask. An attacker averages over seeds
    (`attacks.Expectation`) and passes gradients straight through (BPDA with the identity).
    """

    name = "total_variation"
    summary = "Random pixel dropout and the smoothest image near the rest (Guo et al. 2018)"
    config_type = TotalVariationConfig

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return bpda(self._minimised)(images)

    def _minimised(self, images: tf.Tensor) -> tf.Tensor:
        keys = per_image_random.image_keys(images, self.seed)
        drawn = per_image_random.uniform(keys, list(images.shape[1:]), stream=0)
        kept = tf.cast(drawn >= self.config.forgotten, tf.float32)
        smoothest = minimize_objective(images, kept, self.config.tv_weight, self.config.iterations)
        return tf.clip_by_value(smoothest, 0.0, 1.0)


def objective(
    candidates: tf.Tensor, images: tf.Tensor, kept: tf.Tensor, weight: float
) -> tf.Tensor:
    """The objective of equation (2), float32 [N, C]; all arguments are float32 [N, H, W, C]."""
    distance = _length(kept * (candidates - images), (1, 2))
    rows = _length(_row_differences(candidates), (2,))
    columns = _length(_column_differences(candidates), (1,))
    variation = tf.reduce_sum(rows, axis=(1, 2)) + tf.reduce_sum(columns, axis=(1, 2))
    return distance[:, 0, 0, :] + weight * variation


def minimize_objective(images: tf.Tensor, kept: tf.Tensor, weight: float, iterations: int) -> tf.Tensor:
    """The minimiser of `objective`, by the primal-dual method of Chambolle and Pock (2011, algorithm 1).

    The objective is a sum of lengths, ||K z - b|| in groups; the dual of a length is the unit ball, so a
    step is a gradient step in the dual variables, a projection, and a gradient step in z.
    """
    # Both steps: the method converges where their product is at most 1 / ||K||^2.
    size = 1.0 / (1.0 + 8.0 * weight**2) ** 0.5

    def iterate(
        step: tf.Tensor,
        z: tf.Tensor,
        ahead: tf.Tensor,
        data: tf.Tensor,
        rows: tf.Tensor,
        columns: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        data = _into_ball(data + size * kept * (ahead - images), (1, 2))
        rows = _into_ball(rows + size * weight * _row_differences(ahead), (2,))
        columns = _into_ball(columns + size * weight * _column_differences(ahead), (1,))
        pull = kept * data + weight * (_row_adjoint(rows) + _column_adjoint(columns))
        moved = z - size * pull
        return step + 1, moved, 2.0 * moved - z, data, rows, columns

    start = (
        tf.constant(0),
        images,
        images,
        tf.zeros_like(images),
        tf.zeros_like(images[:, 1:]),
        tf.zeros_like(images[:, :, 1:]),
    )
    return tf.while_loop(
        lambda step, *_: step < iterations, iterate, start, maximum_iterations=iterations
    )[1]


def _row_differences(images: tf.Tensor) -> tf.Tensor:
    return images[:, 1:] - images[:, :-1]


def _column_differences(images: tf.Tensor) -> tf.Tensor:
    return images[:, :, 1:] - images[:, :, :-1]


def _row_adjoint(rows: tf.Tensor) -> tf.Tensor:
    return tf.pad(rows, [[0, 0], [1, 0], [0, 0], [0, 0]]) - tf.pad(
        rows, [[0, 0], [0, 1], [0, 0], [0, 0]]
    )


def _column_adjoint(columns: tf.Tensor) -> tf.Tensor:
    return tf.pad(columns, [[0, 0], [0, 0], [1, 0], [0, 0]]) - tf.pad(
        columns, [[0, 0], [0, 0], [0, 1], [0, 0]]
    )


def _length(values: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=axes, keepdims=True))


def _into_ball(values: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """The nearest point whose length along `axes` is at most 1."""
    return values / tf.maximum(_length(values, axes), 1.0)
