"""The parts of cleverhans that our gradient attacks are made of.

cleverhans 4.0.0's own entry points do not survive this stack: its default sanity checks fail on
NumPy 2, `projected_gradient_descent` unrolls its loop in Python, silently starts without a random
start, and takes one epsilon for the whole batch. The functions below them work, inside
`tf.function` and with an epsilon for each image, so the attacks here call those.
"""

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, compute_gradient, optimize_linear

from tfdefense.attacks.base import Model

_LOSS = tf.nn.sparse_softmax_cross_entropy_with_logits


def linf_direction(model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The sign, -1, 0 or 1, of the cross-entropy's gradient at every pixel: float32 [N, H, W, C]."""
    return optimize_linear(
        compute_gradient(model, _LOSS, images, labels, targeted=False), 1.0, np.inf
    )


def project(images: tf.Tensor, center: tf.Tensor, epsilon: float | tf.Tensor) -> tf.Tensor:
    """The point nearest to `images` within `epsilon` of `center` (L-infinity) and in [0, 1]."""
    return tf.clip_by_value(center + clip_eta(images - center, np.inf, epsilon), 0.0, 1.0)
