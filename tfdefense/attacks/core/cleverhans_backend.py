"""Parts of cleverhans that the gradient attacks use.

The attacks of cleverhans 4.0.0 do not work as they are:
- The default sanity checks of `basic_iterative_method` and `madry_et_al` fail on NumPy 2.
- `projected_gradient_descent` unrolls its loop in Python, starts without a random start and does
  not say so, and takes one epsilon for the batch.

The functions behind them work inside `tf.function` and with one epsilon per image, so the attacks
here call those. `compute_gradient` is called without its own `tf.function`, which keeps every model
alive. `optimize_linear` is not used: in L2 it divides by at least 1e-6, so the small gradients of a
confident model make no step. `norms.steepest_direction` has no such limit.
"""

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, compute_gradient

from tfdefense.attacks.core.expectation import mean_over_draws
from tfdefense.attacks.core.input_gradients import require_gradient
from tfdefense.attacks.core.model import Model
from tfdefense.networks.losses import cross_entropy

_ORDERS = {"linf": np.inf, "l2": 2}


def cross_entropy_gradient(
    model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
) -> tf.Tensor:
    """Return the gradient by the images of the loss that an attack increases, [N, H, W, C].

    The loss is the cross-entropy with the labels, or, given targets, minus that with the targets.
    """
    classes = labels if targets is None else targets

    def compute(model: Model) -> tf.Tensor:
        function = compute_gradient.python_function
        return require_gradient(
            function(model, cross_entropy, images, classes, targeted=targets is not None)
        )

    return mean_over_draws(model, compute)


def project_to_ball(
    images: tf.Tensor, center: tf.Tensor, epsilon: float | tf.Tensor, norm: str = "linf"
) -> tf.Tensor:
    """Project images into the ball of radius `epsilon` around `center`, then clip to [0, 1]."""
    return tf.clip_by_value(center + clip_eta(images - center, _ORDERS[norm], epsilon), 0.0, 1.0)
