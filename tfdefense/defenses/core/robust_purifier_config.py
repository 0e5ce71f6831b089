"""Hyperparameters of the robust purifier."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfdefense.defenses.core.generator_defense import GeneratorConfig
from tfdefense.defenses.core.hyperparameters import (
    CLIP_HELP,
    SCHEDULE_HELP,
    WEIGHT_DECAY_HELP,
    check_fraction,
    check_learning_rate,
    check_not_negative,
    hyperparameter,
)
from tfdefense.defenses.core.inner_attack import InnerAttackConfig
from tfdefense.errors import require, unknown_name
from tfdefense.networks.pixel_thresholds import SURROGATES

# For 32x32 colour images at 8/255, chosen on validation images of GTSRB: docs/explanation/colour.md.
COLOR_RECIPE: Mapping[str, Any] = {
    "generator": "residual_unet",
    "widths": (32, 64, 128, 128),
    "blocks": (0, 2, 1, 1),
    "thresholds": 0,
    "inner_attack": "nfgsm",
    "inner_noise": 1.0,
    "auxiliary_weight": 0.5,
    "mse_weight": 0.1,
    "learning_rate": 3e-3,
    "schedule": "triangle",
    "weight_decay": 0.5,
    "average": 0.995,
    "epochs": 16,
}

# Value of `inner_surrogate` that draws one of the surrogate gradients for each step.
DRAWN_SURROGATE = "drawn"


@dataclasses.dataclass(frozen=True)
class RobustPurifierConfig(InnerAttackConfig, GeneratorConfig):
    """Hyperparameters of `RobustPurifier`.

    Raises:
      UserError: a number out of range, an unknown surrogate gradient, or a setting that another one
        makes useless.
    """

    inner_steps: int = hyperparameter(5, "steps of the inner attack, if it is pgd")
    inner_queries: int = hyperparameter(
        0,
        "queries of the square attack, which replaces the inner attack for every second image; 0 for"
        " none. Without it, the purifier may learn to hide its gradient",
    )
    inner_surrogate: str = hyperparameter(
        SURROGATES.default,
        f"gradient of the thresholds that the inner attack follows: {', '.join(SURROGATES.names)}, or"
        f" {DRAWN_SURROGATE}, one of them for each step",
        omit_default=True,
    )
    ramp: float = hyperparameter(
        0.2, "fraction of the training during which epsilon of the inner attack grows from 0"
    )
    mse_weight: float = hyperparameter(
        1.0, "weight of the squared error between purified and clean image"
    )
    gan_weight: float = hyperparameter(
        0.0, "weight of the loss from a WGAN-GP critic, as in APE-GAN++; 0 for none"
    )
    auxiliary_weight: float = hyperparameter(
        0.0,
        "weight of the cross-entropy of a linear layer on the deepest features of a residual_unet,"
        " which helps training; 0 for none",
        omit_default=True,
    )
    noise: float = hyperparameter(
        0.0, "standard deviation of noise that training adds to attacked images"
    )
    mask: float = hyperparameter(
        0.0, "fraction of pixels of attacked images that training sets to 0"
    )
    generator: str = hyperparameter(
        "small_unet", "small_unet, residual_unet, encoder_decoder or unet"
    )
    widths: tuple[int, ...] = hyperparameter(
        (16, 32, 64, 128),
        "filters of a small_unet or residual_unet at each resolution, the full one first",
    )
    thresholds: int = hyperparameter(
        6, "number of learned thresholds that each pixel is compared with first; 0 for none"
    )
    learning_rate: float = hyperparameter(1e-3, "Adam's")
    schedule: str = hyperparameter("cosine", SCHEDULE_HELP)
    weight_decay: float = hyperparameter(
        0.0,
        WEIGHT_DECAY_HELP,
        omit_default=True,
    )
    clip: float = hyperparameter(1.0, CLIP_HELP)

    @property
    def rising_fraction(self) -> float:
        return self.ramp

    @property
    def inner_surrogates(self) -> tuple[str, ...]:
        """Names of the gradients that the inner attack may follow, from the weakest to the smoothest."""
        drawn = self.inner_surrogate == DRAWN_SURROGATE
        return SURROGATES.names if drawn else (self.inner_surrogate,)

    def __post_init__(self) -> None:
        InnerAttackConfig.__post_init__(self)
        GeneratorConfig.__post_init__(self)
        queries = self.inner_queries
        require(queries >= 0, f"--inner_queries={queries}: 0 or more is needed.")
        known = (*SURROGATES.names, DRAWN_SURROGATE)
        if self.inner_surrogate not in known:
            raise unknown_name("--inner_surrogate", self.inner_surrogate, known)
        require(
            self.thresholds > 0 or self.inner_surrogate == SURROGATES.default,
            f"--inner_surrogate={self.inner_surrogate}: --thresholds={self.thresholds} has no gradient"
            " to choose. Give --thresholds=6, or leave --inner_surrogate out.",
        )
        require(
            self.inner_surrogate != DRAWN_SURROGATE or self.inner_queries == 0,
            f"--inner_queries={self.inner_queries}: not with --inner_surrogate={DRAWN_SURROGATE}."
            " Leave one of them out.",
        )
        check_fraction(self, "ramp", "mask")
        check_not_negative(self, "mse_weight", "gan_weight", "auxiliary_weight")
        check_not_negative(self, "noise", "clip", "weight_decay")
        check_learning_rate(self)
        require(
            self.inner_attack != "nfgsm" or self.inner_queries == 0,
            f"--inner_queries={self.inner_queries}: not with --inner_attack=nfgsm. Leave it out, or"
            " give --inner_attack=pgd.",
        )
