"""bin/train: flags in front of `experiment.train`."""

import dataclasses
from typing import Any

from tfdefense.classifiers import CLASSIFIERS, Config
from tfdefense.classifiers.core.augmentation import AUGMENTATIONS
from tfdefense.cli.evaluate import add_evaluation_flags, judging_from, print_report
from tfdefense.cli.flags import (
    FlagGroups,
    add_classifier_flags,
    add_data_flags,
    add_device_flags,
    devices,
    installed,
    parsed,
)
from tfdefense.cli.listing import listing
from tfdefense.defenses import DEFENSES
from tfdefense.errors import require
from tfdefense.experiments import train_classifier
from tfdefense.experiments.train import train
from tfdefense.training.run_directory import Run

_CLASSIFIER_FLAGS = {
    "optimizer": "adam or sgd (default: the network's recipe).",
    "weight_decay": "Decay of kernels per step and unit of learning rate (default: the recipe).",
    "augmentation": f"{', '.join(AUGMENTATIONS)} (default: the recipe).",
    "label_smoothing": "Share of the target spread over all classes, in [0, 1) (default: the recipe).",
    "patience": "Stop after so many validations, of 20, without a loss as low as the lowest; 0 never"
    " (default: 8). The weights with the lowest validation loss are kept.",
}


def command_flags() -> FlagGroups:
    """The flags of `bin/train`."""
    flags = FlagGroups(
        "bin/train",
        "trains a defence in front of a classifier, evaluates it and exports both; without --defense,"
        " trains the classifier alone. The same command again goes on where it stopped; so does"
        " bin/train --run=DIR alone.",
    )
    flags.add(
        "what",
        "defense",
        str,
        f"What to train: {', '.join(DEFENSES.names())}; or several in sequence, a+b.",
    )
    add_data_flags(flags)
    add_classifier_flags(flags, "What to guard, or (without --defense) to train.")
    flags.add(
        "where", "run", str, "Run directory (default: runs/<dataset>-<classifier>-<defense>)."
    )
    flags.add(
        "how",
        "pairs",
        list,
        "Directories that bin/attack --split=train filled, with commas; each image and step draws one"
        " of them (default: FGSM, made on the fly).",
    )
    flags.add(
        "where", "overwrite", bool, "Throw away what is in the run directory and start afresh."
    )
    flags.add(
        "how",
        "epochs",
        int,
        "Passes over the training images (default: for a defence as many as show about 450,000 images, 8"
        " to 64; for a classifier as its recipe says).",
    )
    flags.add(
        "how",
        "train_images",
        int,
        "How many of the training images a defence learns from, the first of their random order (default: all).",
    )
    flags.add(
        "how",
        "init_run",
        str,
        "Run directory of a trained defence whose networks a new one begins with (default: weights by the seed).",
    )
    flags.add("how", "batch_size", int, "Images in a step, over all replicas (default: 128).")
    flags.add("how", "seed", int, "Initial weights, order of data, random draws (default: 0).")
    flags.add(
        "how",
        "mixed_precision",
        str,
        "What networks compute in while they learn: float32 or bfloat16 (default: float32). Weights, losses and"
        " all that is judged or exported are float32.",
    )
    add_device_flags(flags)
    for option in dataclasses.fields(Config):
        if option.name in _CLASSIFIER_FLAGS:
            flags.add_typed(
                "how a classifier is trained (beside epochs, batch_size, seed, learning_rate)",
                option.name,
                option.type,
                _CLASSIFIER_FLAGS[option.name],
            )
    flags.add(
        "what", "list", bool, "Print every dataset, classifier, attack and defence, and stop."
    )
    flags.add_hyperparameters()
    add_evaluation_flags(flags)
    return flags


def run(given: dict[str, Any]) -> None:
    """Trains, evaluates and exports; prints the table and where everything is."""
    if given.pop("list", False):
        print(listing())
        return
    given = parsed(given)
    directory = given.pop("run", None)
    run = Run(directory) if directory else None
    with devices(given):
        if _classifier_alone(directory, given):
            _train_classifier(given, run)
        else:
            _train_defense(given, run)


def _train_defense(given: dict[str, Any], run: Run | None) -> None:
    data_dir, overwrite = given.pop("data_dir", None), given.pop("overwrite", False)
    judging, pairs = judging_from(given), tuple(given.pop("pairs", ()))
    unsafe_load = given.pop("unsafe_load", False)
    outcome = train(
        given,
        run=run,
        data_dir=data_dir,
        overwrite=overwrite,
        judging=judging,
        pairs=pairs,
        unsafe_load=unsafe_load,
    )
    path = outcome.run.path
    print_report(outcome.report)
    print(f"\nRun directory  {path}\nReport         {path / 'report.html'}")
    print(f"Gallery        {path / 'gallery.png'}\nSavedModel     {outcome.export}")
    print(f"TensorBoard    {installed('tensorboard')} --logdir {path}")


def _classifier_alone(directory: str | None, given: dict[str, Any]) -> bool:
    """Whether a classifier is to be trained: one is named and no defence, or the run is one's."""
    if "defense" in given:
        return False
    if directory is not None and Run(directory).exists():
        return Run(directory).config().kind == "classifier"
    require(
        directory is None or "classifier" in given,
        f"--run={directory}: no such run directory, and no --defense or --classifier to begin one.",
    )
    require(
        "classifier" in given,
        f"--defense: none given, and no --classifier to train alone. Known defences:"
        f" {', '.join(DEFENSES.names())}; classifiers: {', '.join(CLASSIFIERS.names())}.",
    )
    return True


def _train_classifier(given: dict[str, Any], run: Run | None) -> None:
    data_dir, overwrite = given.pop("data_dir", None), given.pop("overwrite", False)
    run, _ = train_classifier.train(given, run, data_dir, overwrite)
    print(f"\nRun directory  {run.path}\nKeras model    {run.classifier_path}")
    print(f"TensorBoard    {installed('tensorboard')} --logdir {run.path}")
