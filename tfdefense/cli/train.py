"""bin/train: train a defence, evaluate it and export it; or train a classifier alone."""

import dataclasses
from typing import TypeVar

from tfdefense.classifiers import CLASSIFIERS, ClassifierConfig
from tfdefense.classifiers.core.augmentation import AUGMENTATIONS
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

_CLASSIFIER_FLAGS = {
    "optimizer": "adam or sgd (default: the recipe of the network).",
    "weight_decay": "Decay of kernels per step and unit of learning rate (default: the recipe).",
    "cutout": "Side in pixels of a grey square at a random place of each image; 0 for none (default: the"
    " recipe).",
    "label_smoothing": "Share of the target probability that is spread over all classes, in [0, 1)"
    " (default: the recipe).",
    "patience": "Stop after this number of validations, of 20 in all, without a new lowest loss; 0 never"
    " stops (default: 8). The weights with the lowest validation loss are kept.",
}


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
    _add_training_flags(flags)
    add_device_flags(flags)
    for field in dataclasses.fields(ClassifierConfig):
        if field.name in _CLASSIFIER_FLAGS:
            flags.add_typed(
                "training of a classifier (with epochs, batch_size, seed, augmentation, mirror, average,"
                " learning_rate, and schedule: cosine or triangle)",
                field.name,
                field.type,
                _CLASSIFIER_FLAGS[field.name],
            )
    flags.add(
        "what", "list", bool, "Print every dataset, classifier, attack and defence, and stop."
    )
    add_hyperparameter_flags(flags)
    add_evaluation_flags(flags)
    return flags


def _add_training_flags(flags: CommandFlags) -> None:
    flags.add(
        "how",
        "recipe",
        str,
        "Values for flags that are not given: color, of robust_purifier for colour images (default: those"
        " of each flag).",
    )
    flags.add(
        "where", "run", str, "Run directory (default: runs/<dataset>-<classifier>-<defense>)."
    )
    flags.add(
        "how",
        "pairs",
        list,
        "Directories that bin/attack --split=train wrote, separated by commas. Each image and step uses"
        " one of them at random (default: FGSM images, made during training).",
    )
    flags.add("where", "overwrite", bool, "Delete what the run directory holds and start afresh.")
    flags.add(
        "how",
        "epochs",
        int,
        "Passes over the training images (default: for a defence, enough for about 450,000 images, 8 to"
        " 64, but 24 of apeganpp over fewer than 5,000; for a classifier, its recipe).",
    )
    flags.add(
        "how",
        "train_images",
        int,
        "Number of training images that a defence learns from, the first of their random order"
        " (default: all).",
    )
    flags.add(
        "how",
        "init_run",
        str,
        "Run directory of a trained defence whose weights training begins with (default: random weights"
        " from the seed).",
    )
    flags.add(
        "how",
        "batch_size",
        int,
        "Images in a step, over all replicas (default: 128, or fewer if the images are large; 32 of"
        " apeganpp with fewer than 5,000 training images).",
    )
    flags.add(
        "how", "seed", int, "Seed of initial weights, order of data and random draws (default: 0)."
    )
    flags.add(
        "how",
        "augmentation",
        str,
        f"Random changes of the training images, before any attack on them: {', '.join(AUGMENTATIONS)}"
        " (default: for a defence, none; for a classifier, its recipe).",
    )
    flags.add(
        "how",
        "mirror",
        bool,
        "Mirror the training images in every second pass; never signs or digits (default: for a defence,"
        " no; for a classifier, colour images of a dataset that is known to keep its classes, such as"
        " cifar10).",
    )
    flags.add(
        "how",
        "average",
        float,
        "Momentum of a moving average of the weights, such as 0.999, which replaces the weights after"
        " training; it is smaller in the first steps; 0 for none (default: for a defence, 0; for a"
        " classifier, its recipe).",
    )
    flags.add(
        "how",
        "mixed_precision",
        str,
        "Type that networks compute with during training: float32, bfloat16, or auto: bfloat16 if the"
        " training is long, the device has it, and it was faster in a short trial (default: auto)."
        " A resumed run keeps its type. Weights, losses, evaluation and export use float32.",
    )


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
