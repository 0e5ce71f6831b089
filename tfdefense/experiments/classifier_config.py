"""Everything that a trained classifier depends on, as a frozen dataclass."""

import dataclasses

from tfdefense.classifiers import ClassifierConfig
from tfdefense.errors import UserError, require
from tfdefense.experiments.inputs import DataConfig
from tfdefense.training.stored_config import StoredConfig


@dataclasses.dataclass(frozen=True)
class ClassifierExperiment:
    """One registered classifier, trained alone.

    Attributes:
      classifier: a registered name.
      data: the images.
      seed: initial weights, order of data and random draws follow from it.
      training: changes to the recipe of the classifier.

    Raises:
      UserError: a number out of range.
    """

    classifier: str
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    seed: int = 0
    training: ClassifierConfig = dataclasses.field(default_factory=ClassifierConfig)

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"--seed={self.seed}: 0 or more is needed.")

    @classmethod
    def from_stored(cls, stored: StoredConfig) -> "ClassifierExperiment":
        """Read the `config.json` of a classifier's run.

        Raises:
          UserError: a key is missing, or a value has a wrong type or is out of range. The message
            names the file.
        """
        try:
            return cls(
                stored.setting("classifier", str),
                DataConfig.from_stored(stored),
                stored.setting("seed", int),
                stored.read_dataclass(ClassifierConfig),
            )
        except UserError as error:
            raise stored.located(error) from error
