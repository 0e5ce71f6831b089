"""The networks under attack. A new one is one file here and one line in `CLASSIFIERS`."""

from pathlib import Path

from tfdefense.classifiers import resolve
from tfdefense.classifiers.core.classifier_training import ClassifierTraining, ClassifierConfig
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.classifiers.registry import CLASSIFIERS
from tfdefense.data.core.dataset import Dataset


def default_for(image_shape: tuple[int, int, int]) -> str:
    """The paper's own small network for such images: MNIST-CNN for grey ones, CIFAR-CNN for colour."""
    return "mnist_cnn" if image_shape[-1] == 1 else "cifar_cnn"


def choose(
    given: str,
    input_format: InputFormat | None = None,
    unsafe: bool = False,
    flag: str = "classifier",
) -> resolve.ClassifierReference:
    """What `given` names, not yet opened: see `chosen.choose`."""
    return resolve.choose(CLASSIFIERS, given, input_format, unsafe, flag)


def load(
    given: str,
    data: Dataset,
    runs_dir: str | Path = "runs",
    seed: int = 0,
    input_format: InputFormat | None = None,
    unsafe: bool = False,
) -> FrozenClassifier:
    """A classifier for `data`: a registered one, trained first if it is not yet, or a model of one's own.

    Args:
      given: a registered architecture ("lenet"), a run directory, a `.keras` or `.h5` file, or the directory of
        a SavedModel.
      data: what it is, or has been, trained on.
      runs_dir: where run directories lie; a registered one's is `<runs_dir>/<dataset>-<name>`.
      seed: for training it.
      input_format: what a model of one's own wants of images; None means [0, 1].
      unsafe: let a model of one's own run its own Python (Lambda layers) while it is read.

    Raises:
      UserError: unknown name, images it cannot take, a foreign directory in the way; see `own.load`.
    """
    return choose(given, input_format, unsafe).open(data, runs_dir, seed)


__all__ = [
    "CLASSIFIERS",
    "ClassifierTraining",
    "ClassifierConfig",
    "FrozenClassifier",
    "InputFormat",
    "choose",
    "default_for",
    "load",
]
