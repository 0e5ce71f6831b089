"""Training of a registered classifier alone: `bin/train --classifier=NAME`."""

import dataclasses
from pathlib import Path

from tfdefense.classifiers import CLASSIFIERS, ClassifierTraining, FrozenClassifier
from tfdefense.classifiers.core import cached_training
from tfdefense.errors import require
from tfdefense.experiments.classifier_config import ClassifierExperiment
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.training_images import require_fitting_batch
from tfdefense.training.mixed_precision import AUTO
from tfdefense.training.run_directory import RunDirectory


def train_classifier(
    experiment: ClassifierExperiment,
    context: ExperimentContext | None = None,
    run: RunDirectory | None = None,
) -> tuple[RunDirectory, FrozenClassifier]:
    """Train a registered classifier, or resume its training; return its run and the classifier.

    Args:
      experiment: what to train.
      context: directories and permissions. For a run that is resumed without a `data_dir`, the
        directory of the run is used.
      run: the run directory; None means `<runs_dir>/<dataset>-<classifier>`.

    Raises:
      UserError: an unknown classifier, unsuitable images, or a run directory with other settings.
      WorkFailedError: the loss is no longer finite, or a file cannot be written.
    """
    context = context or ExperimentContext()
    name, data_dir = experiment.classifier, context.data_dir
    require(
        name in CLASSIFIERS.entries or not Path(name).exists(),
        f"--classifier={name}: exists already, so it is not trained. To guard it, add"
        " --defense=NAME.",
    )
    architecture = CLASSIFIERS.get(name)
    if run is not None and _is_resumed(run, context) and data_dir is None:
        data_dir = run.require_kind("classifier").metadata_value("data_dir", str | None, None)
    dataset = experiment.data.load_dataset(data_dir)
    run = run or cached_training.locate_run(architecture, dataset, context.runs_dir)
    if not _is_resumed(run, context):
        require_fitting_batch(experiment.training.batch_size, dataset.train)
    config = experiment.training
    if config.mixed_precision == AUTO and _is_resumed(run, context):
        stored = run.require_kind("classifier").setting("mixed_precision", str, "float32")
        config = dataclasses.replace(config, mixed_precision=stored)
    training = ClassifierTraining(architecture, dataset, experiment.seed, config)
    classifier = cached_training.train_classifier(training, run, overwrite=context.overwrite)
    return run, classifier


def _is_resumed(run: RunDirectory, context: ExperimentContext) -> bool:
    return run.exists() and not context.overwrite
