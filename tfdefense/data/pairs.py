"""Adversarial pairs for training: the clean image and FGSM's, at a strength drawn for each step."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfdefense.attacks.base import Model
from tfdefense.attacks.cleverhans_parts import gradient, step_along
from tfdefense.data.dataset import Split
from tfdefense.progress import Progress

_BATCH = 500


def fgsm_pairs(model: Model, split: Split) -> dict[str, np.ndarray]:
    """The arrays from which `perturbed` makes FGSM examples of any strength.

    The classifier is frozen, so the direction of FGSM is a constant of each image, the same for all
    strengths and passes. It is computed once here, one byte a pixel, instead of with every step.

    Returns:
      `clean` float32 [N, H, W, C], `labels` int32 [N], `direction` int8 [N, H, W, C] in {-1, 0, 1}.
    """
    shape = (None, *split.image_shape)
    signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec([None], tf.int32)]

    @tf.function(input_signature=signature)
    def direction(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return tf.cast(step_along(gradient(model, images, labels), 1.0, "linf"), tf.int8)

    directions = np.empty(split.images.shape, np.int8)
    with Progress(f"FGSM directions of {split.dataset}", len(split)) as progress:
        for start in range(0, len(split), _BATCH):
            part = slice(start, start + _BATCH)
            directions[part] = direction(split.images[part], split.labels[part]).numpy()
            progress.advance(len(directions[part]))
    return {"clean": split.images, "labels": split.labels, "direction": directions}


def perturbed(batch: Mapping[str, tf.Tensor], epsilon: tf.Tensor) -> tf.Tensor:
    """FGSM examples of a batch of `fgsm_pairs` at strengths `epsilon`, a scalar or float32 [N]."""
    epsilon = tf.reshape(epsilon, [-1, 1, 1, 1])
    direction = tf.cast(batch["direction"], tf.float32)
    return tf.clip_by_value(batch["clean"] + epsilon * direction, 0.0, 1.0)
