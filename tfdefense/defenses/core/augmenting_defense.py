"""Augmentation of the clean images that a defence learns from, before any attack on them.

Adversarial images that were made before the training are changed exactly as their clean images.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.classifiers.core.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    draw_mirrored_first,
    is_mirrored,
)
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.data.core.mirroring import require_mirrorable
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.hyperparameters import hyperparameter
from tfdefense.training.replica import Replica

Arrays = dict[str, np.ndarray | DiskArray]
# The images of a batch that are changed together.
_CLEAN_AND_ADVERSARIAL = ("clean", "adversarial")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Hyperparameters of the augmentation, common to all defences that learn.

    Raises:
      UserError: an unknown augmentation, or a negative `cutout`.
    """

    augmentation: str = hyperparameter(
        "none",
        f"random changes of the training images before they are attacked: {', '.join(AUGMENTATIONS)}",
        omit_default=True,
    )
    mirror: bool = hyperparameter(
        default=False,
        help="mirror the training images in every second epoch; an error for signs and digits, whose"
        " mirror images have other classes",
        omit_default=True,
    )
    cutout: int = hyperparameter(
        0,
        "side in pixels of a grey square at a random place of each training image; 0 for none",
        omit_default=True,
    )

    def __post_init__(self) -> None:
        make_augmentation(self)


def make_augmentation(config: Any) -> Augmentation:
    """Return the augmentation that the hyperparameters of a defence ask for.

    Args:
      config: hyperparameters. Those without settings of an augmentation, or with None, ask for none.

    Raises:
      UserError: an unknown augmentation, or a negative `cutout`.
    """
    return Augmentation(
        getattr(config, "augmentation", None) or "none",
        bool(getattr(config, "mirror", None)),
        getattr(config, "cutout", None) or 0,
    )


def require_augmentable(
    config: Any, image_shape: tuple[int, ...], source: str, name: str | None = None
) -> None:
    """Raise `UserError` if the augmentation of a defence does not suit its training images.

    Args:
      config: hyperparameters of the defence.
      image_shape: (H, W, C).
      source, name: of the dataset, see `require_mirrorable`.
    """
    augmentation = make_augmentation(config)
    if augmentation.mirror:
        require_mirrorable(source, name)
    augmentation.require_fits(image_shape)


class AugmentingDefense(Defense):
    """Defence whose training step calls `augment` before it uses the images of its batch.

    The changes are functions of seed, step and position in the global batch, so several replicas
    change the images as one would, and a resumed run continues with the same changes.
    """

    training_attributes = ("_image_count",)
    _image_count = 0

    def require_augmentable(self, split: Split) -> None:
        """Raise `UserError` if the augmentation does not suit these images."""
        require_augmentable(self.config, split.image_shape, split.dataset)

    def begin_augmentation(self, image_count: int, seed: int) -> Arrays:
        """Return the arrays [image_count, ...] that `augment` needs rows of in each batch.

        Args:
          image_count: number of training images.
          seed: seed of the training.
        """
        if not make_augmentation(self.config).mirror:
            return {}
        self._image_count = image_count
        return {"mirrored_first": draw_mirrored_first(image_count, seed)}

    def augment(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> Mapping[str, tf.Tensor]:
        """Return a batch with randomly changed images: `clean`, and `adversarial` if it has them.

        Both images of a pair are changed alike. Shifts and mirroring move whole pixels, so the
        perturbation between them is the same, moved. "affine" interpolates between pixels, which
        makes the perturbation no larger in the maximum norm. "photo" multiplies it with the change
        of contrast. The square of `cutout` is grey in both.

        Args:
          batch: images float32 [n, H, W, C] in [0, 1], and rows of `begin_augmentation`.
          replica: source of random numbers.
        """
        augmentation = make_augmentation(self.config)
        if augmentation == Augmentation():
            return batch
        mirrored = None
        if augmentation.mirror:
            mirrored = is_mirrored(batch["mirrored_first"], replica.passes(self._image_count))
        names = [name for name in _CLEAN_AND_ADVERSARIAL if name in batch]
        # The images of a pair are channels of one image, so that they have one transform.
        joined = tf.concat([batch[name] for name in names], axis=-1)
        changed = augmentation.apply(joined, replica, mirrored)
        return {**batch, **dict(zip(names, tf.split(changed, len(names), axis=-1), strict=True))}
