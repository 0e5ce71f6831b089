"""Spatial smoothing: the median of a small window replaces each pixel.

Xu, Evans, Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018,
section III.B:

    x(i, j, k) -> median of x(., ., k) in the window around (i, j)

This defence does not learn. A median is one of the values of the window, so its gradient is that of
this value, and attacks use it.
"""

import dataclasses
from typing import Any

import tensorflow as tf

from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.hyperparameters import hyperparameter
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class SpatialSmoothingConfig:
    """Hyperparameters of spatial smoothing."""

    window: int = hyperparameter(
        2, "side of the median's window in pixels; 2 in the APE-GAN++ paper"
    )

    def __post_init__(self) -> None:
        require(self.window >= 1, f"--window={self.window}: at least 1 is needed.")


class SpatialSmoothing(Defense):
    """Median filter for each channel, with images mirrored at the edges.

    It follows `scipy.ndimage.median_filter`, and so the published results: of an even number of
    values it takes the higher of the two middle ones, and an even window extends one pixel further
    up and left than down and right.
    """

    name = "spatial_smoothing"
    summary = "The median of a small window in place of each pixel (Xu et al. 2018)"
    config_type = SpatialSmoothingConfig
    config: SpatialSmoothingConfig

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        image_shape, window = self.classifier.image_shape, self.config.window
        largest = 2 * min(image_shape[:2]) + 1
        require(
            window <= largest,
            f"--window={window}: at most {largest} is allowed for images of {image_shape}.",
        )

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        window = self.config.window
        before, after = window // 2, window - window // 2 - 1
        padded = tf.pad(
            images, [[0, 0], [before, after], [before, after], [0, 0]], mode="SYMMETRIC"
        )
        height, width = images.shape[1:3]
        shifted = [
            padded[:, down : down + height, right : right + width, :]
            for down in range(window)
            for right in range(window)
        ]
        count = window * window
        upper_half = tf.math.top_k(tf.stack(shifted, axis=-1), k=count - count // 2).values
        return upper_half[..., -1]
