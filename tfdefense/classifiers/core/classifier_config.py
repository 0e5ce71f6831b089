"""Changes to the recipe of a classifier, and their checks."""

import dataclasses

from tfdefense.classifiers.core.architecture import Recipe
from tfdefense.classifiers.core.augmentation import Augmentation
from tfdefense.classifiers.core.classifier_optimizer import OPTIMIZERS, SCHEDULES
from tfdefense.errors import require, unknown_name
from tfdefense.training.mixed_precision import require_precision


@dataclasses.dataclass(frozen=True)
class ClassifierConfig:
    """Changes to a recipe. None keeps the value of the recipe.

    Attributes:
      epochs: passes over the training images; None means `Recipe.count_epochs`.
      batch_size: see `Recipe`.
      optimizer: see `Recipe`.
      learning_rate: see `Recipe`.
      weight_decay: see `Recipe`.
      augmentation: see `Recipe`.
      mirror: True mirrors images of unknown data too; False mirrors none. See `Recipe`.
      schedule: see `Recipe`.
      cutout: see `Recipe`.
      label_smoothing: see `Recipe`.
      average: see `Recipe`.
      patience: stop after this number of validations (of about 20) without a loss as low as the
        lowest one; 0 means never. With the schedule "triangle", only validations in the last quarter
        of the steps count, about five: before, the learning rate is high.
      mixed_precision: see `LoopConfig`; or "auto": see `choose_precision`.

    Raises:
      UserError: a number out of range, or an unknown name.
    """

    epochs: int | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    augmentation: str | None = None
    mirror: bool | None = None
    schedule: str | None = None
    cutout: int | None = None
    label_smoothing: float | None = None
    average: float | None = None
    patience: int = 8
    mixed_precision: str = "float32"

    def __post_init__(self) -> None:
        if self.optimizer not in (None, *OPTIMIZERS):
            raise unknown_name("--optimizer", self.optimizer, OPTIMIZERS)
        if self.schedule not in (None, *SCHEDULES):
            raise unknown_name("--schedule", self.schedule, SCHEDULES)
        require_precision(self.mixed_precision)
        Augmentation(self.augmentation or "none", cutout=self.cutout or 0)
        for name, low, high in (
            ("epochs", 1, None),
            ("batch_size", 1, None),
            ("patience", 0, None),
            ("weight_decay", 0, None),
            ("label_smoothing", 0, 1),
            ("average", 0, 1),
        ):
            value = getattr(self, name)
            fits = value is None or (value >= low and (high is None or value < high))
            allowed = f"{low} or more" if high is None else f"a number in [{low}, {high})"
            require(fits, f"--{name}={value}: {allowed} needed.")
        rate = self.learning_rate
        require(rate is None or rate > 0, f"--learning_rate={rate}: more than 0 needed.")

    def apply_to(self, recipe: Recipe) -> Recipe:
        """Return `recipe` with these changes.

        Raises:
          UserError: another optimizer without a learning rate.
        """
        require(
            self.optimizer in (None, recipe.optimizer) or self.learning_rate is not None,
            f"--optimizer={self.optimizer}: the learning rate of the recipe, {recipe.learning_rate:g}, is"
            f" for {recipe.optimizer}. Give --learning_rate too.",
        )
        names = {field.name for field in dataclasses.fields(Recipe)}
        given = dataclasses.asdict(self).items()
        return dataclasses.replace(
            recipe, **{key: value for key, value in given if key in names and value is not None}
        )
