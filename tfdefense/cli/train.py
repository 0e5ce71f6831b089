"""bin/train: flags in front of `experiment.train`."""

from typing import Any

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.cli.evaluate import add_evaluation_flags, judging_from, print_report
from tfdefense.cli.flags import FlagGroups, installed, numbers
from tfdefense.defenses import DEFENSES
from tfdefense.experiment import train
from tfdefense.runs import Run
from tfdefense.training import strategies


def command_flags() -> FlagGroups:
    """The flags of `bin/train`."""
    flags = FlagGroups(
        "bin/train",
        "trains a defence in front of a classifier, evaluates it and exports both. The same command"
        " again goes on where it stopped; so does bin/train --run=DIR alone.",
    )
    flags.add("what", "defense", str, f"What to train: {', '.join(DEFENSES.names())}.")
    flags.add(
        "what",
        "dataset",
        str,
        "digits (embedded, the default), or any TFDS name: mnist, cifar10, ...",
    )
    flags.add(
        "what",
        "classifier",
        str,
        f"What to guard: {', '.join(CLASSIFIERS.names())} (default: mnist_cnn for grey images,"
        " cifar_cnn for colour). Trained first if there is no trained one yet.",
    )
    flags.add(
        "where", "run", str, "Run directory (default: runs/<dataset>-<classifier>-<defense>)."
    )
    flags.add(
        "where",
        "data_dir",
        str,
        "Where TFDS finds prepared datasets (default: TFDS_DATA_DIR, then TFDS's own).",
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
        "Passes over the training images (default: as many as show about 450,000 images, 8 to 64).",
    )
    flags.add("how", "batch_size", int, "Images in a step, over all replicas (default: 128).")
    flags.add("how", "seed", int, "Initial weights, order of data, random draws (default: 0).")
    flags.add(
        "how",
        "strategy",
        str,
        f"Devices: {' or '.join(strategies.NAMES)} (default: mirrored, over all GPUs, or the CPU).",
    )
    flags.add_hyperparameters()
    add_evaluation_flags(flags)
    return flags


def run(given: dict[str, Any]) -> None:
    """Trains, evaluates and exports; prints the table and where everything is."""
    directory = given.pop("run", None)
    strategy = strategies.make(given.pop("strategy", "mirrored"))
    data_dir, overwrite = given.pop("data_dir", None), given.pop("overwrite", False)
    judging, pairs = judging_from(given), tuple(given.pop("pairs", ()))
    if "strengths" in given:
        given["strengths"] = numbers(given["strengths"], "strengths")
    with strategy.scope():
        outcome = train(
            given,
            run=Run(directory) if directory else None,
            data_dir=data_dir,
            overwrite=overwrite,
            judging=judging,
            pairs=pairs,
        )
    path = outcome.run.path
    print_report(outcome.report)
    print(f"\nRun directory  {path}\nReport         {path / 'report.md'}")
    print(f"Gallery        {path / 'gallery.png'}\nSavedModel     {outcome.export}")
    print(f"TensorBoard    {installed('tensorboard')} --logdir {path}")
