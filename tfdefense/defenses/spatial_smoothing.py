"""Spatial smoothing: the median of a small window in place of each pixel.

Xu, Evans, Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018,
section III.B. Learns nothing. A median is one of its values, so its gradient goes to that pixel; it is
attacked through that.
"""

import dataclasses
from typing import Any

import tensorflow as tf

from tfdefense.defenses.core.defense import Defense, hyperparameter
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class SpatialSmoothingConfig:
    """Hyperparameters of spatial smoothing."""

    window: int = hyperparameter(2, "side of the median's window, in pixels; the APE-GAN++ paper's is 2")

    def __post_init__(self) -> None:
        require(self.window >= 1, f"--window={self.window}: at least 1 needed.")


class SpatialSmoothing(Defense):
    """A median filter, each channel alone, mirrored at the edges.

    Of an even number of values it takes the higher of the two in the middle, and an even window reaches
    one pixel further up and left than down and right: as `scipy.ndimage.median_filter` does, and with it
    the published results.
    """

    name = "spatial_smoothing"
    summary = "The median of a small window in place of each pixel (Xu et al. 2018)"
    config_type = SpatialSmoothingConfig

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        least, window = min(self.classifier.image_shape[:2]), self.config.window
        require(
            window // 2 <= least,
            f"--window={window}: at most {2 * least} needed for images of {self.classifier.image_shape}.",
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
        highest = tf.math.top_k(tf.stack(shifted, axis=-1), k=count - count // 2).values
        return highest[..., -1]
