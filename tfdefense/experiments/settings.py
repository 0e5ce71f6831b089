"""What the settings of a command name: which images, which classifier."""

from collections.abc import Mapping
from typing import Any

from tfdefense import classifiers, data
from tfdefense.classifiers import InputFormat
from tfdefense.classifiers.resolve import SETTINGS as CLASSIFIER_SETTINGS
from tfdefense.classifiers.resolve import Chosen
from tfdefense.data.core.dataset import DATA_SETTINGS

DEFAULTS = {"dataset": "digits", "seed": 0}
_FORMAT = ("input_range", "input_mean", "input_std")


def load_data(settings: Mapping[str, Any], data_dir: str | None = None) -> data.Dataset:
    """The dataset that "dataset", "image_size" and "split_seed" of `settings` name."""
    options = {name: settings[name] for name in ("image_size", "split_seed") if name in settings}
    return data.load(settings.get("dataset", DEFAULTS["dataset"]), data_dir, **options)


def choose_classifier(
    settings: Mapping[str, Any], unsafe_load: bool = False, flag: str = "classifier"
) -> Chosen:
    """What "classifier" and the input format of `settings` name, not yet opened; `flag` for error messages."""
    given = {name: settings[name] for name in _FORMAT if settings.get(name) is not None}
    input_format = InputFormat(**given) if given else None
    return classifiers.choose(settings["classifier"], input_format, unsafe_load, flag)


def choose_default_classifier(
    settings: Mapping[str, Any], dataset: data.Dataset, unsafe_load: bool = False
) -> Chosen:
    """The same, where no "classifier" is named: the paper's small network for such images."""
    default = classifiers.default_for(dataset.image_shape)
    return choose_classifier({**settings, "classifier": default}, unsafe_load)


def merged(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings with those that are given in their place.

    A dataset or classifier that is given anew takes the place of all that was said of the old one.
    """
    replaced = {
        name
        for group, key in ((DATA_SETTINGS, "dataset"), (CLASSIFIER_SETTINGS, "classifier"))
        if key in given
        for name in group
    }
    return {**{name: v for name, v in stored.items() if name not in replaced}, **given}
