"""Adversarial pairs to learn from: each clean image, and an adversarial image drawn in each step.

The adversarial images are either FGSM examples, computed in the training step from stored
directions, or images that `bin/attack` stored on disk.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.attacks.core.cleverhans_backend import cross_entropy_gradient
from tfdefense.attacks.core.model import Model
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray, empty_array
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.errors import require
from tfdefense.training.distribute.batching import iterate_batches, split_over_replicas
from tfdefense.training.replica import Replica
from tfdefense.utils.batch_size import fitting_batch_size

_BATCH = 500
_STORED = "adversarial_"


def make_fgsm_pairs(model: Model, split: Split) -> dict[str, np.ndarray | DiskArray]:
    """Return the arrays from which `apply_fgsm` computes FGSM examples of any strength.

    The classifier is frozen, so the FGSM direction of an image is the same for all strengths and
    epochs. It is computed once here and stored in one byte a value.

    Args:
      model: attacked classifier.
      split: clean images and labels.

    Returns:
      `clean` float32 [N, H, W, C], `labels` int32 [N], and `direction` int8 [N, H, W, C] in
      {-1, 0, 1}, the sign of the gradient of the cross-entropy.
    """
    shape = (None, *split.image_shape)
    signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec([None], tf.int32)]

    def gradient_sign(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.sign(cross_entropy_gradient(model, images, labels)), tf.int8)

    compiled = tf.function(
        split_over_replicas(gradient_sign), autograph=False
    ).get_concrete_function(*signature)
    directions = empty_array(split.images.shape, np.int8)
    batches = iterate_batches(
        lambda part: compiled(tf.constant(split.images[part]), tf.constant(split.labels[part])),
        len(split),
        fitting_batch_size(split.image_shape, _BATCH),
        f"FGSM directions of {split.dataset}",
    )
    for part, values in batches:
        directions[part] = values
    return {"clean": split.images, "labels": split.labels, "direction": directions}


def apply_fgsm(batch: Mapping[str, tf.Tensor], epsilon: float | tf.Tensor) -> tf.Tensor:
    """Return FGSM examples float32 [N, H, W, C] of a batch of `make_fgsm_pairs`.

    Args:
      batch: has `clean` and `direction`.
      epsilon: strength, one number or float32 [N].
    """
    epsilon = tf.reshape(epsilon, [-1, 1, 1, 1])
    direction = tf.cast(batch["direction"], tf.float32)
    return tf.clip_by_value(batch["clean"] + epsilon * direction, 0.0, 1.0)


def make_stored_pairs(
    datasets: Sequence[AdversarialDataset], split: Split
) -> dict[str, np.ndarray | DiskArray]:
    """Return the arrays from which `draw_adversarial` draws stored adversarial images.

    Args:
      datasets: stored adversarial images of all images of `split`, one dataset per attack.
      split: clean images and labels.

    Returns:
      `clean` float32 [N, H, W, C], `labels` int32 [N], and `adversarial_0`, `adversarial_1`, ...
      float32 [N, H, W, C], the images of each attack.

    Raises:
      UserError: a dataset of other images, or one that fails verification.
    """
    expected = data_fingerprint(split)
    for dataset in datasets:
        made = dataset.settings
        require(
            dataset.clean_fingerprint == expected,
            f"--pairs={dataset.directory.path}: made from {made['images']:,} images of {made['dataset']}"
            f" {made['split']}, but training uses the {len(split):,} training images of"
            f" {split.dataset}. Make it again with:"
            f" bin/attack --split=train --images={len(split)}",
        )
        dataset.verify(split)
    stored = {f"{_STORED}{index}": dataset.adversarial for index, dataset in enumerate(datasets)}
    return {"clean": split.images, "labels": split.labels, **stored}


def require_pair_weights(weights: Sequence[float], count: int) -> None:
    """Check the weights of `count` datasets of stored adversarial images.

    Raises:
      UserError: not one weight for each dataset, a negative one, or none above 0.
    """
    flag = f"--pair_weights={','.join(f'{weight:g}' for weight in weights)}"
    require(count > 0, f"{flag}: only with --pairs=DIR,DIR. Give --pairs, or leave it out.")
    require(
        len(weights) == count,
        f"{flag}: {len(weights)} weights for the {count} directories of --pairs; one for each is needed.",
    )
    require(
        all(weight >= 0 for weight in weights) and 0 < sum(weights) < math.inf,
        f"{flag}: weights of 0 or more are needed, and one above 0.",
    )


def draw_adversarial(
    batch: Mapping[str, tf.Tensor],
    strengths: tuple[float, ...],
    replica: Replica,
    weights: Sequence[float] | None = None,
) -> tf.Tensor:
    """Return one adversarial image per image of a batch, float32 [n, H, W, C].

    Each image draws anew in each step: one of the attacks of `make_stored_pairs`, or else one of the
    FGSM strengths.

    Args:
      batch: batch of `make_stored_pairs` or `make_fgsm_pairs`.
      strengths: FGSM epsilons to draw from.
      replica: draws random numbers.
      weights: weight of each dataset that `make_stored_pairs` was given; None means equal weights.
    """
    names = sorted(name for name in batch if name.startswith(_STORED))
    if not names:
        return apply_fgsm(batch, replica.choice(strengths))
    if weights is not None:  # In the order of the text: adversarial_10 is before adversarial_2.
        weights = [weights[int(name.removeprefix(_STORED))] for name in names]
    attack = tf.cast(replica.choice(tuple(range(len(names))), weights), tf.int32)
    return tf.gather(tf.stack([batch[name] for name in names], axis=1), attack, batch_dims=1)
