"""Hyperparameters of denoised smoothing."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfdefense.defenses.core.generator_defense import GeneratorConfig
from tfdefense.defenses.core.hyperparameters import (
    CLIP_HELP,
    SCHEDULE_HELP,
    WEIGHT_DECAY_HELP,
    check_learning_rate,
    check_not_negative,
    hyperparameter,
)
from tfdefense.defenses.core.robust_purifier_config import COLOR_RECIPE as ROBUST_COLOR_RECIPE
from tfdefense.errors import require, unknown_name

_NETWORK_AND_SCHEDULE = (
    "generator",
    "widths",
    "blocks",
    "learning_rate",
    "schedule",
    "weight_decay",
    "average",
    "epochs",
)
# For 32x32 colour images: network and schedule of `robust_purifier`, the limit of its gradient, and
# the label as target. They were not compared with others for this defence.
COLOR_RECIPE: Mapping[str, Any] = {
    **{name: ROBUST_COLOR_RECIPE[name] for name in _NETWORK_AND_SCHEDULE},
    "objective": "label",
    "clip": 1.0,
}

_OBJECTIVES = ("stability", "label")


@dataclasses.dataclass(frozen=True)
class DenoisedSmoothingConfig(GeneratorConfig):
    """Hyperparameters of denoised smoothing.

    Raises:
      UserError: a number out of range, or an unknown objective, schedule or network.
    """

    sigma: float = hyperparameter(
        0.25, "standard deviation of the noise, images in [0, 1]; more noise gives larger radii"
    )
    votes: int = hyperparameter(16, "noisy copies of an image that the pipeline's logits average")
    objective: str = hyperparameter(
        "stability",
        "target class of a denoised image: the classifier's class of the clean one (stability, as in"
        " the paper), or the label",
    )
    mse_weight: float = hyperparameter(
        1.0, "weight of the squared error between denoised and clean image"
    )
    generator: str = hyperparameter(
        "small_unet", "small_unet, residual_unet, encoder_decoder or unet"
    )
    learning_rate: float = hyperparameter(1e-3, "Adam's")
    schedule: str = hyperparameter("cosine", SCHEDULE_HELP)
    weight_decay: float = hyperparameter(
        0.0,
        WEIGHT_DECAY_HELP,
        omit_default=True,
    )
    clip: float = hyperparameter(0.0, CLIP_HELP, omit_default=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.sigma > 0, f"--sigma={self.sigma}: more than 0 is needed.")
        require(self.votes >= 1, f"--votes={self.votes}: at least 1 is needed.")
        if self.objective not in _OBJECTIVES:
            raise unknown_name("--objective", self.objective, _OBJECTIVES)
        check_not_negative(self, "mse_weight", "weight_decay", "clip")
        check_learning_rate(self)
