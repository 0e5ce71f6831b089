"""Defences to evaluate: loaded from their runs, found by their settings, or before another classifier."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

from tfdefense.classifiers import FrozenClassifier
from tfdefense.classifiers.core.fingerprint import model_fingerprint
from tfdefense.classifiers.resolve import ClassifierReference
from tfdefense.data import Dataset
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.experiments.config import ExperimentConfig
from tfdefense.experiments.context import ExperimentContext, ImagePlace
from tfdefense.experiments.create_run import create_run
from tfdefense.experiments.inputs import DATA_FLAGS, ClassifierSelection
from tfdefense.experiments.load import (
    load_dataset,
    load_defense,
    load_experiment,
    require_training_images,
)
from tfdefense.experiments.plan import TrainingPlan, plan_training
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.file_lock import require_own_folders


@dataclasses.dataclass(frozen=True)
class EvaluationTarget:
    """A trained defence, ready to be evaluated.

    Attributes:
      run: the directory that the report is written to.
      defense: the defence, in front of its classifier.
      dataset: the images.
    """

    run: RunDirectory
    defense: Defense
    dataset: Dataset


def load_target(run: RunDirectory, place: ImagePlace | None = None) -> EvaluationTarget:
    """Load the trained defence of a run and its dataset.

    Args:
      run: the run directory that training wrote.
      place: where the images are now.

    Raises:
      UserError: as `load_defense` and `load_dataset`.
    """
    return EvaluationTarget(run, load_defense(run), load_dataset(run, place))


def load_target_before(
    run: RunDirectory,
    selection: ClassifierSelection,
    context: ExperimentContext,
    place: ImagePlace | None = None,
) -> EvaluationTarget:
    """Load the trained defence of a run in front of another classifier.

    The report goes to `<run>/guarding-<classifier>`, with a hash for a classifier from a path.

    Args:
      run: the run directory that training wrote.
      selection: the other classifier.
      context: directories and permissions.
      place: where the images are now.

    Raises:
      UserError: as `load_defense`; or the classifier cannot be opened, or takes other images; or a
        folder of the run is a link.
    """
    require_own_folders(run.path, run.flag)
    seed = load_experiment(run).config.defense.seed
    with context.trust():
        classifier = selection.find()
        dataset = load_dataset(run, place)
        defense = load_defense(run, classifier.open(dataset, context.runs_dir, seed))
    output = RunDirectory(guarding_directory(run.path, classifier))
    multi_worker.run_on_chief(lambda: output.path.mkdir(exist_ok=True))
    return EvaluationTarget(output, defense, dataset)


def guarding_directory(directory: Path, classifier: ClassifierReference) -> Path:
    """Return where the reports of a trained defence in front of another classifier go."""
    return directory / f"guarding-{classifier.distinct_name}"


def find_target(
    config: ExperimentConfig, context: ExperimentContext, given: Collection[str]
) -> EvaluationTarget:
    """Find the defence that `train` trained with these settings in its default run directory.

    For a defence that does not learn, the run directory is created.

    Args:
      config: the experiment.
      context: directories and permissions.
      given: names of the settings that must be those of the run. The run decides the others.

    Raises:
      UserError: the defence is not trained yet, or the run has other settings.
    """
    plan = plan_training(config, context)
    run, name = plan.run, config.defense.defense
    if plan.loop is None:
        if run.exists():
            remedy = (
                f"or make another run: bin/train --defense={name} --run=DIR and the same flags."
            )
            run.require_same_settings(plan.to_stored(), remedy=remedy)
        create_run(plan, context)
        with context.trust():
            return EvaluationTarget(run, load_defense(run), plan.dataset)
    require(
        run.exists(),
        f"--defense={name}: not trained yet for these images and this classifier ({run.path} does not"
        " exist). Train it with: bin/train and the same flags.",
    )
    stored = load_experiment(run)
    # The hash of the run is that of the images that it was trained on.
    asked = dataclasses.replace(plan, train=stored.training_images(plan.dataset)).to_stored()
    run.require_same_settings(asked, only=given)
    # A file or run of the same name may hold another classifier.
    has_other_file = bool(run.read_config().differences(asked, ["classifier_hash"]))
    if "classifier" in given and has_other_file and not _is_own_classifier(run, plan, context):
        run.require_same_settings(asked, only=["classifier_hash"])
    # With another split, some test images may be among those that it was trained on.
    if not run.read_config().differences(asked, DATA_FLAGS):
        dataset = plan.dataset
        require_training_images(run, stored, dataset)
    else:
        dataset = load_dataset(run, ImagePlace(context.data_dir))
    with context.trust():
        return EvaluationTarget(run, load_defense(run), dataset)


def _is_own_classifier(run: RunDirectory, plan: TrainingPlan, context: ExperimentContext) -> bool:
    """Return whether the classifier of a plan is that of the run, in whatever file it is."""
    with context.trust():
        reference = plan.config.classifier.find()
        given = reference.open(plan.dataset, context.runs_dir, plan.config.defense.seed)
    own = FrozenClassifier(run.load_classifier(), plan.dataset.image_shape)
    return model_fingerprint(given) == model_fingerprint(own)
