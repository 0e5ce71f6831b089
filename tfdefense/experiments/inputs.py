"""Inputs of an experiment: its images, its classifier, and directories that training reads."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfdefense import classifiers, data
from tfdefense.classifiers import InputFormat, OutputSelection
from tfdefense.classifiers.resolve import ClassifierReference
from tfdefense.data import DataOptions, Dataset
from tfdefense.data.core.dataset import DATA_SETTINGS
from tfdefense.training.stored_config import StoredConfig

_NUMBERS = ("input_range", "input_mean", "input_std")
_FORMAT = (*_NUMBERS, "input_preset")
_OUTPUT = ("signature", "output_name")
DATA_FLAGS = DATA_SETTINGS  # Each has a flag.
CLASSIFIER_FLAGS = ("classifier", *_FORMAT, *_OUTPUT)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The images of an experiment. Fields have the names of flags.

    Attributes:
      dataset: "digits", "dir:PATH", "csv:FILE", "npz:FILE", or a TFDS name.
      image_size: (height, width) to which images are resized; None leaves them as they are.
      split_seed: seed of the splits that the dataset does not define.
      skip_corrupt: leave out image files that cannot be decoded.
      channels: 1 or 3, to which all images are converted; None leaves them as they are.

    Raises:
      UserError: a number out of range.
    """

    dataset: str = "digits"
    image_size: tuple[int, int] | None = None
    split_seed: int = 0
    skip_corrupt: bool = False
    channels: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", self._options().image_size)

    @classmethod
    def of_dataset(cls, dataset: Dataset) -> "DataConfig":
        """Return the config that loads this dataset again, from any working directory."""
        return cls(**dataset.settings())

    @classmethod
    def from_stored(cls, stored: StoredConfig) -> "DataConfig":
        """Read the settings of a run."""
        return cls(
            stored.setting("dataset", str),
            stored.setting("image_size", tuple[int, int] | None, None),
            stored.setting("split_seed", int, 0),
            stored.setting("skip_corrupt", bool, default=False),
            stored.setting("channels", int | None, None),
        )

    def to_settings(self) -> dict[str, Any]:
        """Return flag name -> value, without the defaults."""
        return {"dataset": self.dataset, **self._options().settings()}

    def load_dataset(self, data_dir: str | None = None, *, download: bool = True) -> Dataset:
        """Load the images.

        Args:
          data_dir: as in `ExperimentContext`.
          download: whether images that are not on disk may be downloaded.

        Raises:
          UserError: an unknown name, or images that cannot be read.
        """
        options = dataclasses.replace(self._options(), data_dir=data_dir, download=download)
        return data.load_with_options(self.dataset, options)

    def _options(self) -> DataOptions:
        return DataOptions(
            None, self.image_size, self.split_seed, self.skip_corrupt, channels=self.channels
        )


@dataclasses.dataclass(frozen=True)
class ClassifierSelection:
    """The classifier that is guarded or attacked. Fields have the names of flags.

    Attributes:
      classifier: a registered name, a run directory, a `.keras` or `.h5` file, or a SavedModel
        directory; None means the default for the images. Once a file or directory has been found,
        this is its name, and `path` and `classifier_hash` are set.
      classifier_hash: fingerprint of the file or directory.
      input_range, input_mean, input_std, input_preset: the images that a custom classifier takes,
        as in `InputFormat`; None means images in [0, 1], not standardized.
      signature, output_name: the output of a custom classifier, as in `OutputSelection`.
      path: absolute path of the file or directory.

    Raises:
      UserError: numbers out of order, or too many.
    """

    classifier: str | None = None
    classifier_hash: str | None = None
    input_range: tuple[float, ...] | None = None
    input_mean: tuple[float, ...] | None = None
    input_std: tuple[float, ...] | None = None
    input_preset: str | None = None
    signature: str | None = None
    output_name: str | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        self.input_format()

    @classmethod
    def from_stored(cls, stored: StoredConfig) -> "ClassifierSelection":
        """Read the settings of a run."""
        numbers = tuple[float, ...] | None
        return cls(
            stored.setting("classifier", str),
            stored.setting("classifier_hash", str | None, None),
            **{name: stored.setting(name, numbers, None) for name in _NUMBERS},
            **{name: stored.setting(name, str | None, None) for name in ("input_preset", *_OUTPUT)},
            path=stored.metadata_value("classifier_path", str | None, None),
        )

    def to_settings(self) -> dict[str, Any]:
        """Return flag name -> value of the fields that are set, without `path`."""
        names = ("classifier", "classifier_hash", *_FORMAT, *_OUTPUT)
        settings = {name: getattr(self, name) for name in names}
        return {name: _listed(value) for name, value in settings.items() if value is not None}

    def input_format(self) -> InputFormat | None:
        """Return the images that the classifier takes; None if nothing was said of them."""
        values = {name: getattr(self, name) for name in _FORMAT if getattr(self, name) is not None}
        return InputFormat(**values) if values else None

    def find(self, dataset: Dataset | None = None) -> ClassifierReference:
        """Find the classifier without opening it.

        Args:
          dataset: images whose default classifier is taken if no classifier is named.

        Raises:
          UserError: there is no such classifier, or an input format or output is given for a registered
            one.
        """
        name = self.path or self.classifier
        if name is None:
            assert dataset is not None
            name = classifiers.default_for(dataset.image_shape)
        outputs = OutputSelection(self.signature, self.output_name)
        return classifiers.choose(name, self.input_format(), outputs)

    @classmethod
    def of_found(cls, found: ClassifierReference) -> "ClassifierSelection":
        """Return the selection of a classifier that was found, with its name and fingerprint."""
        return cls(path=str(found.path) if found.path else None, **_tuples(found.settings))


@dataclasses.dataclass(frozen=True)
class InputDirectory:
    """A directory that training reads.

    Attributes:
      path: the directory.
      identity: name that tells its content from that of others; "" until it has been read.
    """

    path: str
    identity: str = ""


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
    }
