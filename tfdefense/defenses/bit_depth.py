"""Bit depth reduction: fewer grey levels leave less room for a perturbation.

Xu, Evans, Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018,
section III.A. Each value x in [0, 1] is rounded to i bits:

    x -> round((2^i - 1) x) / (2^i - 1)

This defence does not learn. Its gradient is zero almost everywhere, so attacks use the identity
instead (BPDA).
"""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.core.bpda import bpda
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.hyperparameters import hyperparameter
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class BitDepthConfig:
    """Hyperparameters of bit depth reduction."""

    bits: int | None = hyperparameter(
        None, "bits for each value, 1 to 8 (default: 1 for grey images, 5 for colour)"
    )

    def __post_init__(self) -> None:
        bits = self.bits
        require(bits is None or 1 <= bits <= 8, f"--bits={bits}: 1 to 8 is needed.")


class BitDepth(Defense):
    """Rounding of every value to one of `2 ** bits` levels."""

    name = "bit_depth"
    summary = "Rounds every value to a few bits (Xu et al. 2018)"
    config_type = BitDepthConfig
    config: BitDepthConfig

    @property
    def bits(self) -> int:
        """Bits for each value."""
        return self.config.bits or (1 if self.has_grey_images else 5)

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        highest = 2.0**self.bits - 1.0
        return bpda(lambda images: tf.round(highest * images) / highest)(images)
