"""The optimizer of a classifier's recipe, with learning rate, weight decay and weight averaging."""

from typing import Any

import keras

from tfdefense.classifiers.core.architecture import Recipe
from tfdefense.training.averaging_optimizers import AveragingAdam, AveragingSGD
from tfdefense.training.learning_rates import Triangle

OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("cosine", "triangle")


def make_optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer of a recipe, not yet built, for a training of `steps` steps."""
    rate = _make_schedule(recipe, steps)
    options: dict[str, Any] = {
        "weight_decay": recipe.weight_decay or None,
        "average": recipe.average,
    }
    if recipe.optimizer == "adam":
        return AveragingAdam(rate, **options)
    return AveragingSGD(rate, momentum=0.9, nesterov=True, **options)


def _make_schedule(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    peak = recipe.learning_rate
    if recipe.schedule == "triangle":
        return Triangle(peak, steps)
    if recipe.optimizer == "adam":
        return keras.optimizers.schedules.CosineDecay(peak, steps)
    warmup = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=peak, warmup_steps=warmup
    )
