"""bin/train: train a defence, evaluate it and export it; or train a classifier alone."""

import dataclasses
from typing import TypeVar

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.cli.devices import (
    DeviceSelection,
    add_device_flags,
    pop_device_flags,
    selected_devices,
)
from tfdefense.cli.evaluation_flags import (
    add_evaluation_flags,
    evaluation_from_flags,
    pop_max_hours,
)
from tfdefense.cli.flags import CommandFlags, FlagValues
from tfdefense.cli.input_flags import (
    add_classifier_flags,
    add_data_flags,
    add_hyperparameter_flags,
    parse_inputs,
)
from tfdefense.cli.listing import registry_listing
from tfdefense.cli.printing import installed_command, print_paths, print_report
from tfdefense.cli.training_flags import add_classifier_training_flags, add_training_flags
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import require
from tfdefense.experiments.classifier_config import ClassifierExperiment
from tfdefense.experiments.config import ExperimentConfig
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.from_flags import (
    classifier_experiment_from_flags,
    experiment_from_flags,
)
from tfdefense.experiments.load import load_experiment
from tfdefense.experiments.train import train
from tfdefense.experiments.train_classifier import train_classifier
from tfdefense.training.mixed_precision import AUTO
from tfdefense.training.run_directory import RunDirectory

Experiment = TypeVar("Experiment", ExperimentConfig, ClassifierExperiment)


def command_flags() -> CommandFlags:
    """Return the flags of `bin/train`."""
    flags = CommandFlags(
        "bin/train",
        "trains a defence in front of a classifier, evaluates it and exports both. Without --defense, it"
        " trains the classifier alone. To resume an interrupted training, repeat the command, or run"
        " bin/train --run=DIR.",
    )
    flags.add(
        "what",
        "defense",
        str,
        f"Defence to train: {', '.join(DEFENSES.names())}; or several in sequence, a+b.",
    )
    add_data_flags(flags)
    add_classifier_flags(flags, "Classifier to guard or, without --defense, to train.")
    add_training_flags(flags)
    add_device_flags(flags)
    add_classifier_training_flags(flags)
    flags.add(
        "what", "list", bool, "Print every dataset, classifier, attack and defence, and stop."
    )
    add_hyperparameter_flags(flags)
    add_evaluation_flags(flags)
    return flags


def run(given: FlagValues) -> None:
    """Train, evaluate and export; print the table and the paths of all results."""
    if given.pop("list", False):
        print(registry_listing())
        return
    given = parse_inputs(given)
    directory = given.pop("run", None)
    run = RunDirectory(directory) if directory else None
    devices = pop_device_flags(given)
    if _trains_classifier_alone(run, given):
        _train_classifier(given, devices, run)
    else:
        _train_defense(given, devices, run)


def _train_defense(given: FlagValues, devices: DeviceSelection, run: RunDirectory | None) -> None:
    context = ExperimentContext(
        given.pop("data_dir", None),
        unsafe_load=given.pop("unsafe_load", False),
        overwrite=given.pop("overwrite", False),
        max_hours=pop_max_hours(given),
    )
    evaluation = evaluation_from_flags(given)
    resumed = run is not None and run.exists() and not context.overwrite
    stored = load_experiment(run).config if run is not None and resumed else None
    experiment = experiment_from_flags(given, stored, evaluation)
    if stored is None:
        experiment = _with_usual_precision(experiment, given)
    with selected_devices(devices):
        trained = train(experiment, context, run)
        path = trained.run.path
        print_report(trained.report)
        print()
        print_paths(
            {
                "Run directory": path,
                "Report": path / "report.html",
                "Gallery": path / "gallery.png",
                "SavedModel": trained.export,
                "TensorBoard": installed_command("tensorboard", "--logdir", path),
            }
        )


def _with_usual_precision(experiment: Experiment, given: FlagValues) -> Experiment:
    """Return a new experiment with `--mixed_precision=auto`, unless the flag was given."""
    if experiment.training is None or "mixed_precision" in given:
        return experiment
    training = dataclasses.replace(experiment.training, mixed_precision=AUTO)
    return dataclasses.replace(experiment, training=training)


def _trains_classifier_alone(run: RunDirectory | None, given: FlagValues) -> bool:
    """Return whether the command trains a classifier: it names no defence, or its run is one of a classifier."""
    if "defense" in given:
        return False
    if run is not None and run.exists():
        return run.read_config().kind == "classifier"
    require(
        run is None or "classifier" in given,
        f"{run}: no such run directory. To create it, add --defense=NAME or --classifier=NAME.",
    )
    require(
        "classifier" in given,
        "--defense: none given, and no --classifier to train alone. Known defences:"
        f" {', '.join(DEFENSES.names())}; classifiers: {', '.join(CLASSIFIERS.names())}.",
    )
    return True


def _train_classifier(
    given: FlagValues, devices: DeviceSelection, run: RunDirectory | None
) -> None:
    overwrite = given.pop("overwrite", False)
    context = ExperimentContext(given.pop("data_dir", None), overwrite=overwrite)
    resumed = run is not None and run.exists() and not context.overwrite
    stored = None
    if run is not None and resumed:
        stored = ClassifierExperiment.from_stored(run.require_kind("classifier"))
    experiment = classifier_experiment_from_flags(given, stored)
    if stored is None:
        experiment = _with_usual_precision(experiment, given)
    with selected_devices(devices):
        run, _ = train_classifier(experiment, context, run)
        print()
        print_paths(
            {
                "Run directory": run.path,
                "Keras model": run.classifier_path,
                "TensorBoard": installed_command("tensorboard", "--logdir", run.path),
            }
        )
