"""The parts of cleverhans that our gradient attacks are made of.

cleverhans 4.0.0's own entry points do not survive this stack: the default sanity checks of
`basic_iterative_method` and `madry_et_al` fail on NumPy 2, `projected_gradient_descent` unrolls its
loop in Python, silently starts without a random start, and takes one epsilon for the whole batch.
The functions below them work, inside `tf.function` and with an epsilon for each image, so the
attacks here call those. `compute_gradient` is called without its own `tf.function`, which would
keep every model that it ever saw alive. `optimize_linear` is not among them: in L2 it divides by 1e-6
at least, so that a gradient that is smaller, as those of a confident model are, makes no step;
`norms.steepest` has no such end.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, compute_gradient

from tfdefense.attacks.core.expectation import over_draws
from tfdefense.attacks.core.gradients import existing

_LOSS = tf.nn.sparse_softmax_cross_entropy_with_logits
_ORDERS = {"linf": np.inf, "l2": 2}


def cross_entropy_gradient(
    model: Callable[[tf.Tensor], tf.Tensor],
    images: tf.Tensor,
    labels: tf.Tensor,
    targets: tf.Tensor | None = None,
) -> tf.Tensor:
    """Of the cross-entropy with the labels, or of minus that with the targets: [N, H, W, C]."""
    aim = labels if targets is None else targets

    def once(model: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        function = compute_gradient.python_function
        return existing(function(model, _LOSS, images, aim, targeted=targets is not None))

    return over_draws(model, once)


def project_to_ball(
    images: tf.Tensor, center: tf.Tensor, epsilon: float | tf.Tensor, norm: str = "linf"
) -> tf.Tensor:
    """`images` moved into the ball of `epsilon` around `center`, then into [0, 1]."""
    return tf.clip_by_value(center + clip_eta(images - center, _ORDERS[norm], epsilon), 0.0, 1.0)
