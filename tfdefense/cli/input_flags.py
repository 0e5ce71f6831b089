"""Flags of data, classifier and hyperparameters, which several commands share."""

import dataclasses
from typing import Any

from tfdefense import data
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.cli.flags import CommandFlags, FlagValues, parse_numbers
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import require

_CUSTOM = "a custom classifier"


def add_data_flags(flags: CommandFlags) -> None:
    """Define the flags that name the images."""
    flags.add(
        "data",
        "dataset",
        str,
        "digits (embedded, the default), dir:PATH (one folder of images a class), csv:FILE (columns"
        " filename and label), npz:FILE, or any TFDS name: mnist, cifar10, ...",
    )
    flags.add(
        "data",
        "data_dir",
        str,
        "Directory in which TFDS finds prepared datasets (default: TFDS_DATA_DIR, then the default of TFDS).",
    )
    flags.add(
        "data",
        "image_size",
        str,
        "Resize all images to this size, 32 or HEIGHTxWIDTH (default: no resizing).",
    )
    flags.add(
        "data",
        "channels",
        int,
        "Convert all images to grey (1) or to colour (3) (default: they keep their channels).",
    )
    flags.add(
        "data",
        "split_seed",
        int,
        "Seed by which splits that the dataset does not define are drawn; it changes nothing for a TFDS"
        " dataset with test images (default: 0).",
    )
    flags.add(
        "data",
        "skip_corrupt",
        bool,
        "Leave out image files that cannot be decoded, of dir:PATH and csv:FILE (default: stop and"
        " name them).",
    )


def add_image_path_flags(flags: CommandFlags, group: str, *, extra: str = "") -> None:
    """Define the flags that name where the images of an existing run are now.

    Args:
      flags: the flags of the command.
      group: group of the flags in the help.
      extra: what else the help of `--data_dir` says.
    """
    flags.add(
        group,
        "dataset",
        str,
        "The images of the run at another path, as dir:PATH, csv:FILE or npz:FILE (default: where they"
        " were in training).",
    )
    flags.add(
        group,
        "data_dir",
        str,
        f"Directory in which TFDS finds the images (default: as in training).{extra}",
    )


def add_classifier_flags(flags: CommandFlags, purpose: str) -> None:
    """Define the flags that name a classifier; `purpose` is the first sentence of the help."""
    flags.add(
        "classifier",
        "classifier",
        str,
        f"{purpose} One of {', '.join(CLASSIFIERS.names())} (default: mnist_cnn for grey images,"
        " cifar_cnn for colour), trained first if there is no trained one yet; or the run directory"
        " of a trained one; or a custom model: a .keras or .h5 file, or a SavedModel directory.",
    )
    flags.add(
        _CUSTOM,
        "input_range",
        list,
        "The values of black and white in its images: 0,255 or -1,1 (default: 0,1). Attacks still"
        " work in [0, 1].",
    )
    flags.add(
        _CUSTOM,
        "input_mean",
        list,
        "Mean to subtract after that: one number, or one for each channel.",
    )
    flags.add(
        _CUSTOM,
        "input_std",
        list,
        "Standard deviation to divide by after that: one number, or one for each channel.",
    )
    flags.add(
        _CUSTOM,
        "input_preset",
        str,
        "In place of these, the convention of preprocess_input in Keras Applications: caffe (blue,"
        " green, red in 0 to 255 minus the means of ImageNet), torch (standardized) or tf (-1 to 1)."
        " Together with these, bgr: blue, green, red, as OpenCV reads images.",
    )
    flags.add(
        _CUSTOM,
        "output_name",
        str,
        "The output that gives logits or probabilities (default: logits, or the only one).",
    )
    flags.add(
        _CUSTOM,
        "signature",
        str,
        "The signature of a SavedModel that takes images (default: serving_default).",
    )
    add_trust_flag(flags, _CUSTOM)


def add_trust_flag(flags: CommandFlags, group: str) -> None:
    """Define `--unsafe_load`, which switches the checks of model files off."""
    flags.add(
        group,
        "unsafe_load",
        bool,
        "Trust the model files: run the Python code in them (Lambda layers) and every operation of their"
        " graphs, and do not try them in a child process first.",
    )


def add_hyperparameter_flags(flags: CommandFlags) -> None:
    """Define a flag for each hyperparameter of each registered defence."""
    found: dict[str, dict[str, dataclasses.Field[Any]]] = {}
    for defense in DEFENSES.names():
        for field in dataclasses.fields(DEFENSES.get(defense).config_type):
            found.setdefault(field.name, {})[defense] = field
    for name, fields in sorted(found.items(), key=lambda item: (len(item[1]) == 1, [*item[1]])):
        if name in flags.values:
            continue
        group = "hyperparameters of several defences"
        if len(fields) == 1:
            group = f"hyperparameters of --defense={next(iter(fields))}"
        annotation = next(iter(fields.values())).type
        flags.add_typed(group, name, annotation, _hyperparameter_help(fields))


def parse_inputs(given: FlagValues) -> FlagValues:
    """Return a copy of `given` in which image size and input format are numbers.

    Raises:
      UserError: one of them is not a number or a list of numbers, or the dataset is unknown.
    """
    given = dict(given)
    if "dataset" in given:
        data.check_name(given["dataset"], given.get("data_dir"))
    if "image_size" in given:
        sides = given["image_size"].lower().split("x")
        require(
            len(sides) in (1, 2)
            and all(side.isascii() and side.isdecimal() and len(side) < 9 for side in sides),
            f"--image_size={given['image_size']}: a number or HEIGHTxWIDTH is needed.",
        )
        given["image_size"] = tuple(int(side) for side in (sides * 2)[:2])
    for flag in ("input_range", "input_mean", "input_std"):
        if flag in given:
            given[flag] = parse_numbers(given[flag], flag)
    return given


def _hyperparameter_help(fields: dict[str, dataclasses.Field[Any]]) -> str:
    """Return the help of a hyperparameter, once for all defences that have the same."""
    texts: dict[str, list[str]] = {}
    for defense, field in fields.items():
        default = "" if field.default is None else f" (default: {field.default})"
        texts.setdefault(field.metadata["help"] + default, []).append(defense)
    if len(texts) == 1:
        return next(iter(texts))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in texts.items())
