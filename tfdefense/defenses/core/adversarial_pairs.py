"""Adversarial pairs for training: a clean image, and an adversarial one drawn for each step.

The adversarial ones are FGSM's at any strength, made on the fly, or what `bin/attack` left on disk.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.attacks.core.attack import Model
from tfdefense.attacks.core.cleverhans_backend import cross_entropy_gradient
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray, empty
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.errors import require
from tfdefense.training.distribute.batching import iterate_batches, split_over_replicas
from tfdefense.training.replica import Replica

_BATCH = 500
_CRAFTED = "adversarial_"


def make_fgsm_pairs(model: Model, split: Split) -> dict[str, np.ndarray]:
    """The arrays from which `perturbed` makes FGSM examples of any strength.

    The classifier is frozen, so the direction of FGSM is a constant of each image, the same for all
    strengths and passes. It is computed once here, one byte a pixel, instead of with every step.

    Returns:
      `clean` float32 [N, H, W, C], `labels` int32 [N], `direction` int8 [N, H, W, C] in {-1, 0, 1}.
    """
    shape = (None, *split.image_shape)
    signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec([None], tf.int32)]

    def direction(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.sign(cross_entropy_gradient(model, images, labels)), tf.int8)

    direction = tf.function(split_over_replicas(direction), input_signature=signature)
    directions = empty(split.images.shape, np.int8)
    found = iterate_batches(
        lambda part: direction(split.images[part], split.labels[part]),
        len(split),
        _BATCH,
        f"FGSM directions of {split.dataset}",
    )
    for part, values in found:
        directions[part] = values
    return {"clean": split.images, "labels": split.labels, "direction": directions}


def apply_fgsm(batch: Mapping[str, tf.Tensor], epsilon: tf.Tensor) -> tf.Tensor:
    """FGSM examples of a batch of `fgsm_pairs` at strengths `epsilon`, a scalar or float32 [N]."""
    epsilon = tf.reshape(epsilon, [-1, 1, 1, 1])
    direction = tf.cast(batch["direction"], tf.float32)
    return tf.clip_by_value(batch["clean"] + epsilon * direction, 0.0, 1.0)


def make_stored_pairs(examples: Sequence[AdversarialDataset], split: Split) -> dict[str, np.ndarray | DiskArray]:
    """The arrays from which `drawn` takes adversarial images that are on disk.

    Args:
      examples: each of all images of `split`, crafted by one attack.
      split: the clean images.

    Returns:
      `clean` float32 [N, H, W, C], `labels` int32 [N], and `adversarial_0`, `adversarial_1`, ... float32
      [N, H, W, C], the images of each attack.

    Raises:
      UserError: examples of other images.
    """
    expected = data_fingerprint(split)
    for each in examples:
        made_of = f"{each.settings['images']:,} images of {each.settings['dataset']} {each.settings['split']}"
        require(
            each.data == expected,
            f"--pairs={each.run.path}: made of {made_of}; the {len(split):,} training images of"
            f" {split.dataset} needed that are learned from (bin/attack --split=train --images={len(split)}).",
        )
    adversarial = {f"{_CRAFTED}{i}": each.adversarial for i, each in enumerate(examples)}
    return {"clean": split.images, "labels": split.labels, **adversarial}


def draw_adversarial(
    batch: Mapping[str, tf.Tensor], strengths: tuple[float, ...], replica: Replica
) -> tf.Tensor:
    """An adversarial image for each of a batch: float32 [n, H, W, C].

    Of `crafted_pairs`, one of the attacks', or else FGSM's at one of `strengths`; drawn anew for each
    image and step.
    """
    crafted = [batch[name] for name in sorted(batch) if name.startswith(_CRAFTED)]
    if not crafted:
        return apply_fgsm(batch, replica.choice(strengths))
    which = tf.cast(replica.choice(tuple(range(len(crafted)))), tf.int32)
    return tf.gather(tf.stack(crafted, axis=1), which, batch_dims=1)
