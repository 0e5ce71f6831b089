"""Trained defences and their data, loaded from a run directory alone."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfdefense import data
from tfdefense.classifiers import FrozenClassifier
from tfdefense.data import Dataset, Split
from tfdefense.data.core.fingerprint import sampled_fingerprint
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import (
    PreemptedError,
    UserError,
    WorkFailedError,
    require,
    short_reason,
)
from tfdefense.experiments.config import ExperimentConfig
from tfdefense.experiments.context import ImagePlace
from tfdefense.experiments.inputs import DataConfig
from tfdefense.training.checkpoints import Checkpoints
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.run_files import read_last_step, require_original_files
from tfdefense.utils.computer_failures import COMPUTER_FAILURES


@contextlib.contextmanager
def damage_as_user_error(run: RunDirectory) -> Iterator[None]:
    """Raise `UserError` in place of exceptions that only damaged files of a run cause.

    Args:
      run: the run directory that is read in the block.

    Raises:
      UserError: the block raised an exception that names no input.
    """
    try:
        yield
    except (UserError, WorkFailedError, PreemptedError, *COMPUTER_FAILURES):
        raise
    except Exception as error:  # Each kind of damage raises another type.
        kind = type(error).__name__
        raise UserError(
            f"{run}: damaged, or its files do not belong together ({kind}: {short_reason(error)[:200]})."
        ) from error


@dataclasses.dataclass(frozen=True)
class StoredExperiment:
    """Content of the `config.json` of a defence's run.

    Attributes:
      config: what was trained, without the evaluation.
      data_dir: where TFDS found the dataset; None for its default, or for another source.
      class_names: the K names, or none.
      image_shape: (H, W, C) of the dataset; empty in runs of 0.2.0.
      images: `sampled_fingerprint` of the training images; None in runs of 0.2.0 and in those that
        `fit(run=...)` made.
      steps: number of steps of the training; 0 for a defence that does not learn.
    """

    config: ExperimentConfig
    data_dir: str | None
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    images: str | None
    steps: int

    def training_images(self, dataset: Dataset) -> Split:
        """Return the training images of `dataset` that the defence learned from."""
        training = self.config.training
        count = training.train_images if training else None
        return dataset.train if count is None else dataset.train.take(count)


def load_experiment(run: RunDirectory) -> StoredExperiment:
    """Read the `config.json` of a defence's run.

    Raises:
      UserError: not the run of a defence, or a damaged file.
    """
    with damage_as_user_error(run):
        return _load_experiment(run)


def _load_experiment(run: RunDirectory) -> StoredExperiment:
    stored = run.require_kind("defense")
    steps = stored.metadata_value("steps", int | None, None)
    require(
        steps is not None,
        f"{stored.file}: surroundings.steps is missing: an older version made this run. Train it"
        " again.",
    )
    return StoredExperiment(
        ExperimentConfig.from_stored(stored),
        stored.metadata_value("data_dir", str | None, None),
        stored.metadata_value("class_names", tuple[str, ...], ()),
        stored.metadata_value("image_shape", tuple[int, ...], ()),
        stored.metadata_value("images", str | None, None)
        if "data_dir" in stored.metadata
        else None,
        steps or 0,
    )


def load_defense(run: RunDirectory, guarded: FrozenClassifier | None = None) -> Defense:
    """Load the trained defence of a run.

    Args:
      run: the run directory that training wrote.
      guarded: a classifier to guard in place of the one that it was trained with, as in tables VII
        to X of the first paper.

    Raises:
      UserError: not the run of a defence, training is not finished, a file is damaged or of another
        run, or the defence is a classifier itself and `guarded` is given.
    """
    with damage_as_user_error(run):
        return _load_defense(run, guarded)


def _load_defense(run: RunDirectory, guarded: FrozenClassifier | None) -> Defense:
    stored = load_experiment(run)
    require_original_files(run)
    own_classifier = run.load_classifier()
    if guarded is None:
        _require_fitting_classifier(run, own_classifier, stored)
        if stored.image_shape:  # The model may take images of any size.
            height, width, channels = stored.image_shape
            own_classifier = FrozenClassifier(own_classifier, (height, width, channels))
    defense = stored.config.defense.build(guarded or own_classifier)
    require(
        guarded is None or not defense.replaces_classifier,
        f"--classifier: {defense.name} is a classifier itself, so it cannot guard another.",
    )
    defense.trained_with = own_classifier.name
    step = Checkpoints(defense.networks(), run.path).restore() if stored.steps else 0
    require(
        step >= stored.steps or step == read_last_step(run),  # A training may have ended early.
        f"{run}: training is not finished (step {step:,} of {stored.steps:,})."
        f" Resume it with: bin/train --run={run.path}",
    )
    return defense


def _require_fitting_classifier(
    run: RunDirectory, classifier: Any, stored: StoredExperiment
) -> None:
    """Raise `UserError` if the classifier has other classes or images than `config.json` names."""
    count, names = classifier.output_shape[-1], stored.class_names
    require(
        not names or count == len(names),
        f"{run.classifier_path}: gives {count} classes, but config.json names {len(names)}. The files do"
        " not belong together.",
    )
    shape = tuple(classifier.input_shape[1:])
    require(
        stored.image_shape in ((), shape) or None in shape,
        f"{run.classifier_path}: takes images of {shape}, but config.json names {stored.image_shape}. The files"
        " do not belong together.",
    )


def load_dataset(
    run: RunDirectory, place: ImagePlace | None = None, *, download: bool = True
) -> Dataset:
    """Load the dataset that the defence of a run was trained on.

    Args:
      run: the run directory.
      place: where the images are now.
      download: whether images that are not on disk may be downloaded.

    Raises:
      UserError: not the run of a defence, or its data cannot be loaded or have changed since.
    """
    stored = load_experiment(run)
    dataset = load_unchecked_dataset(run, stored, place or ImagePlace(), download=download)
    require_training_images(run, stored, dataset)
    return dataset


def load_unchecked_dataset(
    run: RunDirectory, stored: StoredExperiment, place: ImagePlace, *, download: bool
) -> Dataset:
    """Load the dataset of a run without the comparison of `require_training_images`."""
    config = stored.config.data
    if place.dataset is not None:
        _require_same_source(run, stored, place.dataset)
        config = dataclasses.replace(config, dataset=place.dataset)
    else:
        require_images_in_place(run, config)
    return config.load_dataset(place.data_dir or stored.data_dir, download=download)


def require_images_in_place(run: RunDirectory, config: DataConfig) -> None:
    """Raise `UserError` if the images of a run are files that are no longer at their path."""
    form = data.find_path_form(config.dataset)
    require(
        form is None or Path(config.dataset.partition(":")[2]).exists(),
        f"{run}: its images, {config.dataset}, are no longer there. Give their new path:"
        f" --dataset={form}.",
    )


def make_image_place(run: RunDirectory, data_dir: str | None, dataset: str | None) -> ImagePlace:
    """Return the place of a run's images that flags name, without looking for the images.

    Args:
      run: the run directory.
      data_dir, dataset: values of these flags; None if they were not given.

    Raises:
      UserError: `dataset` cannot name the images of the run at another path.
    """
    if dataset is not None:
        _require_same_source(run, load_experiment(run), dataset)
    return ImagePlace(data_dir, dataset)


def _require_same_source(run: RunDirectory, stored: StoredExperiment, dataset: str) -> None:
    """Raise `UserError` unless `dataset` can name the images of a run at another path."""
    own = stored.config.data.dataset
    form = data.find_path_form(own)
    remedy = f"Only {form} of the same images can be given." if form else "Leave it out."
    require(
        form is not None and data.find_path_form(dataset) == form,
        f"--dataset={dataset}: --run has its own, {own}. {remedy}",
    )
    require(
        stored.images is not None,
        f"--dataset={dataset}: {run} has no hash of its images, which would tell whether these are the"
        f" same. Put them where they were, at {own}, and leave it out.",
    )


def require_training_images(run: RunDirectory, stored: StoredExperiment, dataset: Dataset) -> None:
    """Raise `UserError` if a run was trained on other images than those of `dataset`.

    The test images then differ too, and the training may have seen some of them.
    """
    require(
        stored.images in (None, sampled_fingerprint(stored.training_images(dataset))),
        f"{run}: was trained on other images: those of {dataset.source} have changed since, or this computer decodes them differently."
        f" Give the same images, or train it again: bin/train --run={run.path} --overwrite and its flags.",
    )
