"""Random changes to training images that keep their class."""

import math

import tensorflow as tf

from tfdefense.errors import unknown_name
from tfdefense.training.replica import Replica

AUGMENTATIONS = ("none", "shift", "shift_flip", "affine")

# The largest shift as a share of the side: 4 of 32 pixels; with "affine", 2 of 28 pixels.
_SHIFT = 0.125
_AFFINE_SHIFT = 0.08
_AFFINE_DEGREES = 12.0
_AFFINE_SCALE = 0.12
_AFFINE_SHEAR = 0.15


def check_augmentation(name: str) -> str:
    """Return `name`; raise `UserError` if there is no such augmentation."""
    if name not in AUGMENTATIONS:
        raise unknown_name("--augmentation", name, AUGMENTATIONS)
    return name


def augment(images: tf.Tensor, name: str, replica: Replica) -> tf.Tensor:
    """Change each image at random.

    Args:
      images: float32 [n, H, W, C] in [0, 1].
      name: one of
        "none";
        "shift": a shift by whole pixels, up to 1/8 of the side, with reflection at the edges;
        "shift_flip": "shift", and left and right exchanged with probability 1/2 (not for digits and
        letters);
        "affine": a rotation by up to 12 degrees, scaling by up to 12 %, shearing by up to 15 %, and a
        shift by up to 8 % of the side, with black at the edges (for digits and letters).
      replica: source of random numbers.

    Returns:
      Images float32 [n, H, W, C] in [0, 1].
    """
    if name == "none":
        return images
    if name == "affine":
        return tf.clip_by_value(
            _transform(images, _draw_affine_transforms(images, replica), "CONSTANT"), 0, 1
        )
    height, width = images.shape[1:3]
    rows = tf.round(replica.uniform(-1.0, 1.0) * _SHIFT * height)
    columns = tf.round(replica.uniform(-1.0, 1.0) * _SHIFT * width)
    ones, zeros = tf.ones_like(rows), tf.zeros_like(rows)
    mirrored = zeros
    if name == "shift_flip":
        mirrored = tf.cast(replica.uniform() < 0.5, tf.float32)
    # Column x of the result is column `across * x + offset` of the image.
    across = ones - 2 * mirrored
    offset = columns + mirrored * (width - 1)
    matrix = tf.stack([across, zeros, offset, zeros, ones, rows, zeros, zeros], axis=1)
    return _transform(images, matrix, "REFLECT", "NEAREST")


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
