"""Random changes to training images that keep their class."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from tfdefense.errors import UserError, require, unknown_name
from tfdefense.training.replica import Replica

AUGMENTATIONS = ("none", "shift", "affine", "photo")

# The largest shift as a share of the side: 4 of 32 pixels; with "affine", 2 of 28 pixels.
_SHIFT = 0.125
_AFFINE_SHIFT = 0.08
_AFFINE_DEGREES = 12.0
_AFFINE_SCALE = 0.12
_AFFINE_SHEAR = 0.15
# With "photo": the largest logarithm of the factor of contrast, and the largest change of brightness.
_CONTRAST = 0.5
_BRIGHTNESS = 0.125
_CUTOUT_VALUE = 0.5


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes to training images.

    Attributes:
      name: one of
        "none";
        "shift": a shift by whole pixels, up to 1/8 of the side, with reflection at the edges;
        "affine": a rotation by up to 12 degrees, scaling by up to 12 %, shearing by up to 15 %, and a
        shift by up to 8 % of the side, with black at the edges (for digits and letters);
        "photo": the same with repeated edges, then contrast and brightness: x -> s x + b, with s
        from 0.61 to 1.65 and b up to 0.125 (for signs and other things whose light varies).
      mirror: exchange left and right in every second epoch over the images. Half of the images, by
        the seed, are mirrored in the first epoch (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single
        GPU", 2024).
      cutout: side in pixels of a grey square at a random place (DeVries and Taylor, "Improved
        Regularization of Convolutional Neural Networks with Cutout", 2017), all of it inside the
        image; 0 for none.

    Raises:
      UserError: an unknown name, or a negative side.
    """

    name: str = "none"
    mirror: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.name == "shift_flip":
            raise UserError("--augmentation=shift_flip: now --augmentation=shift and --mirror.")
        if self.name not in AUGMENTATIONS:
            raise unknown_name("--augmentation", self.name, AUGMENTATIONS)
        require(self.cutout >= 0, f"--cutout={self.cutout}: 0 or more needed.")

    def require_fits(self, image_shape: tuple[int, ...]) -> None:
        """Raise `UserError` if images (H, W, C) are no larger than the square that is cut out."""
        height, width = image_shape[:2]
        require(
            self.cutout < min(height, width),
            f"--cutout={self.cutout}: images of {height}x{width} given, a side below"
            f" {min(height, width)} needed.",
        )

    def apply(
        self, images: tf.Tensor, replica: Replica, mirrored: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Change each image at random.

        Args:
          images: float32 [n, H, W, C] in [0, 1].
          replica: source of random numbers.
          mirrored: bool [n], from `is_mirrored`; only needed with `mirror`.

        Returns:
          Images float32 [n, H, W, C] in [0, 1].
        """
        if self.mirror:
            assert mirrored is not None
            images = tf.where(mirrored[:, None, None, None], tf.reverse(images, [2]), images)
        if self.name == "shift":
            images = _shift(images, replica)
        if self.name in ("affine", "photo"):
            edges = "CONSTANT" if self.name == "affine" else "NEAREST"
            transforms = _draw_affine_transforms(images, replica)
            images = tf.clip_by_value(_transform(images, transforms, edges), 0, 1)
        if self.name == "photo":
            images = _change_light(images, replica)
        return _cut_out(images, self.cutout, replica) if self.cutout else images


def draw_mirrored_first(image_count: int, seed: int) -> np.ndarray:
    """Return whether each training image is mirrored in epoch 0, uint8 [image_count] of 0 and 1."""
    return np.random.default_rng(seed).integers(0, 2, image_count, np.uint8)


def is_mirrored(mirrored_first: tf.Tensor, passes: tf.Tensor) -> tf.Tensor:
    """Return whether each image is mirrored in its epoch, bool [n]: it changes from epoch to epoch.

    Args:
      mirrored_first: whether each image is mirrored in epoch 0, uint8 [n] of 0 and 1.
      passes: number of the epoch in which each image is shown, int64 [n].
    """
    return (tf.cast(mirrored_first, tf.int64) + passes) % 2 == 1


def _shift(images: tf.Tensor, replica: Replica) -> tf.Tensor:
    height, width = images.shape[1:3]
    rows = tf.round(replica.uniform(-1.0, 1.0) * _SHIFT * height)
    columns = tf.round(replica.uniform(-1.0, 1.0) * _SHIFT * width)
    ones, zeros = tf.ones_like(rows), tf.zeros_like(rows)
    # Column x of the result is column x + `columns` of the image.
    matrix = tf.stack([ones, zeros, columns, zeros, ones, rows, zeros, zeros], axis=1)
    return _transform(images, matrix, "REFLECT", "NEAREST")


def _change_light(images: tf.Tensor, replica: Replica) -> tf.Tensor:
    contrast = tf.exp(replica.uniform(-1.0, 1.0) * _CONTRAST)
    brightness = replica.uniform(-1.0, 1.0) * _BRIGHTNESS
    per_image = [slice(None), None, None, None]
    return tf.clip_by_value(images * contrast[per_image] + brightness[per_image], 0, 1)


def _cut_out(images: tf.Tensor, side: int, replica: Replica) -> tf.Tensor:
    height, width = images.shape[1:3]
    top = tf.floor(replica.uniform() * float(height - side + 1))
    left = tf.floor(replica.uniform() * float(width - side + 1))
    down = tf.range(height, dtype=tf.float32) - top[:, None]
    across = tf.range(width, dtype=tf.float32) - left[:, None]
    inside = ((down >= 0) & (down < side))[:, :, None] & ((across >= 0) & (across < side))[:, None]
    return tf.where(inside[..., None], tf.constant(_CUTOUT_VALUE, images.dtype), images)


def _draw_affine_transforms(images: tf.Tensor, replica: Replica) -> tf.Tensor:
    """Return random transforms from pixels of the result to pixels of the image, float32 [n, 8]."""
    height, width = images.shape[1:3]
    angle = replica.uniform(-1.0, 1.0) * (_AFFINE_DEGREES * math.pi / 180)
    across = 1 + replica.uniform(-1.0, 1.0) * _AFFINE_SCALE
    down = 1 + replica.uniform(-1.0, 1.0) * _AFFINE_SCALE
    shear = replica.uniform(-1.0, 1.0) * _AFFINE_SHEAR
    shift_x = replica.uniform(-1.0, 1.0) * _AFFINE_SHIFT * width
    shift_y = replica.uniform(-1.0, 1.0) * _AFFINE_SHIFT * height
    a, b = across * tf.cos(angle), shear - across * tf.sin(angle)
    c, d = down * tf.sin(angle), down * tf.cos(angle)
    # Rotate around the middle of the image, not around its corner.
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    e = middle_x - a * middle_x - b * middle_y + shift_x
    f = middle_y - c * middle_x - d * middle_y + shift_y
    zeros = tf.zeros_like(a)
    return tf.stack([a, b, e, c, d, f, zeros, zeros], axis=1)


def _transform(
    images: tf.Tensor, matrix: tf.Tensor, fill: str, interpolation: str = "BILINEAR"
) -> tf.Tensor:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=matrix,
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode=fill,
    )
