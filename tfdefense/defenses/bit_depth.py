"""Bit depth reduction: fewer grey levels leave less room for a perturbation.

Xu, Evans, Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018,
section III.A. Learns nothing. Its own gradient is zero almost everywhere, so it is attacked through the
identity (BPDA), which finds what there is to find.
"""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.core.bpda import bpda
from tfdefense.defenses.core.defense import Defense, hyperparameter
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class BitDepthConfig:
    """Hyperparameters of bit depth reduction."""

    bits: int | None = hyperparameter(
        None, "bits for each value, 1 to 8 (default: 1 for grey images, 5 for colour)"
    )

    def __post_init__(self) -> None:
        require(self.bits is None or 1 <= self.bits <= 8, f"--bits={self.bits}: 1 to 8 needed.")


class BitDepth(Defense):
    """Rounds every value to one of `2 ** bits` levels."""

    name = "bit_depth"
    summary = "Rounds every value to a few bits (Xu et al. 2018)"
    config_type = BitDepthConfig

    @property
    def bits(self) -> int:
        """Bits for each value."""
        return self.config.bits or (1 if self.is_grey else 5)

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        steps = 2.0**self.bits - 1.0
        return bpda(lambda images: tf.round(steps * images) / steps)(images)
