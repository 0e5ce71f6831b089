"""Everything that the result of one experiment depends on, as frozen dataclasses."""

import dataclasses
from typing import Any

from tfdefense.defenses import get_defense_class
from tfdefense.defenses.core.adversarial_pairs import require_pair_weights
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.hyperparameters import stored_hyperparameters
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.errors import UserError, require
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.experiments.inputs import ClassifierSelection, DataConfig, InputDirectory
from tfdefense.training import BATCH_SIZE, LoopConfig
from tfdefense.training.mixed_precision import require_precision
from tfdefense.training.stored_config import StoredConfig

_LOOP = ("epochs", "batch_size", "mixed_precision")


@dataclasses.dataclass(frozen=True)
class DefenseConfig:
    """A defence, not yet in front of a classifier.

    Attributes:
      defense: a registered name, or several in sequence, "a+b".
      hyperparameters: instance of the defence's config class, such as `APEGANPlusPlusConfig`; None
        means its defaults.
      seed: initial weights, order of data and random draws follow from it.

    Raises:
      UserError: an unknown name, a config of another defence, or a number out of range.
    """

    defense: str
    hyperparameters: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        config_type = self.defense_class.config_type
        if self.hyperparameters is None:
            object.__setattr__(self, "hyperparameters", config_type())
        require(
            isinstance(self.hyperparameters, config_type),
            f"hyperparameters: {type(self.hyperparameters).__name__} given;"
            f" --defense={self.defense} needs {config_type.__name__}.",
        )
        require(self.seed >= 0, f"--seed={self.seed}: 0 or more is needed.")

    @property
    def defense_class(self) -> type[Defense]:
        """The class of the defence."""
        return get_defense_class(self.defense)

    @property
    def learned_class(self) -> type[LearnedDefense] | None:
        """The class of a defence that learns; None for any other."""
        defense_class = self.defense_class
        return defense_class if issubclass(defense_class, LearnedDefense) else None

    def build(self, classifier: Any) -> Defense:
        """Return the defence with initial weights, in front of a classifier."""
        return self.defense_class(classifier, self.seed, config=self.hyperparameters)

    @classmethod
    def from_stored(cls, stored: StoredConfig) -> "DefenseConfig":
        """Read the settings of a run; hyperparameters that are missing have their defaults."""
        name = stored.setting("defense", str)
        defense_class: type[Defense] = get_defense_class(name)
        hyperparameters: Any = stored.read_dataclass(defense_class.config_type)
        return cls(name, hyperparameters, stored.setting("seed", int))


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Training of a defence. Fields have the names of flags.

    Attributes:
      epochs: passes over the training images; None means the defence's default.
      batch_size: examples in a step, over all replicas; None means the defence's default.
      mixed_precision: as in `LoopConfig`; or "auto": see `choose_precision`.
      train_images: number of training images, the first of their random order; None means all.
      init_run: run of a trained defence whose weights training begins with; None means random
        weights.
      pairs: directories of adversarial examples (`bin/attack --split=train`) to train on; without
        them, the defence makes its own.
      pair_weights: weight of each directory of `pairs` in the draw of adversarial images; equal
        weights become None.

    Raises:
      UserError: a number out of range, an unknown precision, or unsuitable weights.
    """

    epochs: int | None = None
    batch_size: int | None = None
    mixed_precision: str = "float32"
    train_images: int | None = None
    init_run: InputDirectory | None = None
    pairs: tuple[InputDirectory, ...] = ()
    pair_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        epochs = 1 if self.epochs is None else self.epochs
        batch_size = BATCH_SIZE if self.batch_size is None else self.batch_size
        LoopConfig(epochs, batch_size)
        require_precision(self.mixed_precision)
        if self.pair_weights is not None:
            require_pair_weights(self.pair_weights, len(self.pairs))
            if len(set(self.pair_weights)) == 1:  # The same training as without weights.
                object.__setattr__(self, "pair_weights", None)

    def to_settings(self) -> dict[str, Any]:
        """Return flag name -> value without `pairs`, which `config.json` has at its beginning."""
        settings: dict[str, Any] = {}
        if self.pair_weights is not None:
            settings["pair_weights"] = list(self.pair_weights)
        if self.train_images is not None:
            settings["train_images"] = self.train_images
        if self.init_run is not None:
            settings["init_run"] = self.init_run.identity
        return settings | {name: getattr(self, name) for name in _LOOP}

    @classmethod
    def from_stored(cls, stored: StoredConfig) -> "TrainingConfig":
        """Read the settings of a run, and the paths of its inputs from the metadata."""
        init_run = stored.setting("init_run", str | None, None)
        init_path = stored.metadata_value("init_run", str | None, None)
        names = stored.setting("pairs", tuple[str, ...], ())
        weights = stored.setting("pair_weights", tuple[float, ...] | None, None)
        paths = stored.metadata_value("pairs", tuple[str, ...], ())
        require(
            len(paths) in (0, len(names)),
            f"{stored.file}: surroundings.pairs has {len(paths)} directories; {len(names)} are needed,"
            " one for each of settings.pairs.",
        )
        return cls(
            stored.setting("epochs", int),
            stored.setting("batch_size", int),
            stored.setting("mixed_precision", str, "float32"),
            stored.setting("train_images", int | None, None),
            InputDirectory(init_path, init_run or "") if init_path else None,
            tuple(InputDirectory(*each) for each in zip(paths, names, strict=False)),
            weights if paths else None,
        )


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """One defence in front of one classifier: what to train and how to evaluate it.

    Attributes:
      defense: the defence and its hyperparameters.
      data: the images.
      classifier: the classifier that is guarded.
      training: how the defence learns; None for a defence that does not learn. For one that learns,
        None means the defaults.
      evaluation: how to evaluate; None means that any report in the run directory will do, and
        otherwise the defaults.

    Raises:
      UserError: training options for a defence that does not learn, or an evaluation that does not
        suit the defence.
    """

    defense: DefenseConfig
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    classifier: ClassifierSelection = dataclasses.field(default_factory=ClassifierSelection)
    training: TrainingConfig | None = None
    evaluation: EvaluationConfig | None = None

    def __post_init__(self) -> None:
        learns = self.defense.learned_class is not None
        require(
            learns or self.training is None,
            f"training: given; --defense={self.defense.defense} does not learn.",
        )
        if learns and self.training is None:
            object.__setattr__(self, "training", TrainingConfig())
        if self.evaluation is not None:
            self.evaluation.require_usable_on(self.defense.defense_class)

    @classmethod
    def from_stored(cls, stored: StoredConfig) -> "ExperimentConfig":
        """Read the `config.json` of a defence's run.

        Raises:
          UserError: a key is missing or unknown, or a value has a wrong type or is out of range. The
            message names the file.
        """
        try:
            defense = DefenseConfig.from_stored(stored)
            training = TrainingConfig.from_stored(stored) if defense.learned_class else None
            config = cls(
                defense,
                DataConfig.from_stored(stored),
                ClassifierSelection.from_stored(stored),
                training,
            )
        except UserError as error:
            raise stored.located(error) from error
        unknown = sorted(stored.settings.keys() - _setting_names(config))
        require(
            not unknown,
            f"{stored.file}: settings.{', settings.'.join(unknown)} is unknown;"
            f" --defense={config.defense.defense} has {', '.join(sorted(_setting_names(config)))}.",
        )
        return config

    def to_settings(self) -> dict[str, Any]:
        """Return the settings of `config.json`, flag name -> value.

        Names and fingerprints of inputs must be known: see `plan_training`.
        """
        settings: dict[str, Any] = {}
        training = self.training
        if training and training.pairs:
            settings["pairs"] = [each.identity for each in training.pairs]
        settings["defense"] = self.defense.defense
        settings |= self.data.to_settings() | self.classifier.to_settings()
        if training:
            settings |= training.to_settings()
        settings["seed"] = self.defense.seed
        return settings | stored_hyperparameters(self.defense.hyperparameters)


def _setting_names(config: ExperimentConfig) -> set[str]:
    """Return the keys that the settings of such an experiment may have."""
    sections = [config.data, config.classifier, config.defense.hyperparameters]
    sections += [config.training] if config.training else []
    names = {field.name for section in sections for field in dataclasses.fields(section)}
    return (names | {"defense", "seed"}) - {"path"}
