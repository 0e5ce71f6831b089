"""Image classifiers: architectures, their training recipes, and loaders of trained and custom models.

A new architecture is one file in this folder and one line in `registry.py`.
"""

from pathlib import Path
from typing import TypedDict, Unpack

from tfdefense.classifiers.core.classifier_config import ClassifierConfig
from tfdefense.classifiers.core.classifier_training import ClassifierTraining
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.classifiers.custom.input_format import InputFormat
from tfdefense.classifiers.custom.output_selection import OutputSelection
from tfdefense.classifiers.registry import CLASSIFIERS
from tfdefense.classifiers.resolve import choose
from tfdefense.data.core.dataset import Dataset


class CustomModelOptions(TypedDict, total=False):
    """Options for loading a custom model.

    Attributes:
      input_format: the range of images that the model takes; None means [0, 1].
      outputs: the signature and the output that are the classifier; None means the usual ones.
      unsafe: trust the model; see `load_custom_model`.
    """

    input_format: InputFormat | None
    outputs: OutputSelection | None
    unsafe: bool


def default_for(image_shape: tuple[int, int, int]) -> str:
    """Return the APE-GAN++ paper's small network: MNIST-CNN for grey images, CIFAR-CNN for colour."""
    return "mnist_cnn" if image_shape[-1] == 1 else "cifar_cnn"


def load(
    given: str,
    data: Dataset,
    runs_dir: str | Path = "runs",
    seed: int = 0,
    **options: Unpack[CustomModelOptions],
) -> FrozenClassifier:
    """Load a classifier for `data`; train a registered one first if that was not done yet.

    Args:
      given: a registered architecture ("lenet"), a run directory, a `.keras` or `.h5` file, or the
        directory of a SavedModel.
      data: the dataset that it is, or has been, trained on.
      runs_dir: directory of run directories. A registered classifier is in
        `<runs_dir>/<dataset>-<name>`.
      seed: seed of the training.
      **options: `input_format`, `outputs` and `unsafe`, for a custom model; see `CustomModelOptions`.

    Raises:
      UserError: an unknown name, images that the classifier cannot take, or a run directory that
        holds something else; see also `load_custom_model`.
    """
    return choose(given, **options).open(data, runs_dir, seed)


__all__ = [
    "CLASSIFIERS",
    "ClassifierConfig",
    "ClassifierTraining",
    "FrozenClassifier",
    "InputFormat",
    "OutputSelection",
    "choose",
    "default_for",
    "load",
]
