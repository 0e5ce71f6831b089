"""Rows of `robust_ablation.py`: the changes that each makes, and its length at equal cost."""

import math

CORNERS = {"inner_start": "blocks"}
GREY_ROWS = {
    "uniform starts": {"inner_start": "uniform"},
    "inner attack FGSM": {"inner_attack": "fgsm"},
    "inner attack fast": {"inner_attack": "fast"},
    "from corners": CORNERS,
    "corners, without thresholds": {**CORNERS, "thresholds": 0},
    "corners, filters 16-32-64": {**CORNERS, "widths": (16, 32, 64)},
    "corners, filters 16-32-64-128-256": {**CORNERS, "widths": (16, 32, 64, 128, 256)},
    "corners, without MSE": {**CORNERS, "mse_weight": 0.0},
    "corners, with GAN loss": {**CORNERS, "gan_weight": 0.1},
    "corners, without ramp": {**CORNERS, "ramp": 0.0},
    "corners, 10 inner steps": {**CORNERS, "inner_steps": 10},
}
COLOR = {"recipe": "color"}
COLOR_ROWS = {
    "recipe": COLOR,
    "without auxiliary loss": {**COLOR, "auxiliary_weight": 0.0},
    "without weight averaging": {**COLOR, "average": 0.0},
    "cosine schedule": {**COLOR, "schedule": "cosine"},
    "noise 2": {**COLOR, "inner_noise": 2.0},
    "PGD with 2 steps": {**COLOR, "inner_attack": "pgd", "inner_steps": 2},
    "small_unet": {**COLOR, "generator": "small_unet", "blocks": None, "auxiliary_weight": 0.0},
    "with GAN loss": {**COLOR, "gan_weight": 0.1},
    "without MSE": {**COLOR, "mse_weight": 0.0},
    "MSE weight 1": {**COLOR, "mse_weight": 1.0},
}
MAIN = (
    *("uniform starts", "from corners", "corners, with GAN loss"),
    *("recipe", "without auxiliary loss", "PGD with 2 steps", "with GAN loss", "MSE weight 1"),
)


def gradients_per_image(config):
    """Return the gradients of purifier and classifier that one image costs in one step.

    Args:
      config: `RobustPurifierConfig`.
    """
    return 1 + (config.inner_steps if config.inner_attack == "pgd" else 1)


def equal_cost(config, first_config, images, epochs):
    """Return the passes and the images of a row that costs what the first row does.

    Args:
      config, first_config: `RobustPurifierConfig` of both rows.
      images, epochs: of the first row.
    """
    shown = epochs * images * gradients_per_image(first_config) / gradients_per_image(config)
    passes = max(1, math.ceil(shown / images))
    return passes, round(shown / passes)
