"""absl flags, in groups, with the help page that a person wants to see."""

import contextlib
import dataclasses
import os
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.defenses import DEFENSES
from tfdefense.errors import UserError, WorkFailed, reason_of, require
from tfdefense.training.distribute import strategies
from tfdefense.utils import cluster

_WORKER_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.DeadlineExceededError,
)


class FlagGroups:
    """The flags of one command; every flag is None unless it was given.

    Args:
      description: what the command does, for the head of its help page.
      words_to: a flag of type list that words without a flag belong to, where it is given.
    """

    def __init__(self, command: str, description: str, words_to: str | None = None) -> None:
        self.words_to = words_to
        self.command = command
        self.description = description
        self.values = flags.FlagValues()
        self.groups: dict[str, list[str]] = {}
        self.numbers: dict[str, type] = {}

    def add(self, group: str, name: str, kind: type, help: str) -> None:
        """Defines `--name` of type str, int, float, bool or list (comma-separated)."""
        define = {
            str: flags.DEFINE_string,
            int: flags.DEFINE_integer,
            float: flags.DEFINE_float,
            bool: flags.DEFINE_bool,
            list: flags.DEFINE_list,
        }[kind]
        define(name, None, help, flag_values=self.values)
        self.groups.setdefault(group, []).append(name)

    def add_hyperparameters(self) -> None:
        """Defines a flag for each hyperparameter of each registered defence."""
        found: dict[str, dict[str, dataclasses.Field]] = {}
        for defense in DEFENSES.names():
            for field in dataclasses.fields(DEFENSES.get(defense).Config):
                found.setdefault(field.name, {})[defense] = field
        for name, fields in sorted(found.items(), key=lambda item: (len(item[1]) == 1, [*item[1]])):
            one = next(iter(fields.values()))
            if name in self.values:
                continue
            text = one.metadata["help"]
            group = f"hyperparameters of --defense={next(iter(fields))}"
            if len(fields) > 1:
                group = "hyperparameters of several defences"
                texts = {d: f.metadata["help"] + _default(f) for d, f in fields.items()}
                same = len(set(texts.values())) == 1
                text = next(iter(texts.values())) if same else ""
                text = text or "; ".join(f"{d}: {t}" for d, t in texts.items())
            else:
                text += _default(one)
            self.add_typed(group, name, one.type, text)

    def add_typed(self, group: str, name: str, annotation: Any, help: str) -> None:
        """Defines `--name` for a dataclass field of this annotation."""
        annotation = _present(annotation)
        if typing.get_origin(annotation) is tuple:
            self.numbers[name] = typing.get_args(annotation)[0]
            annotation = list
        self.add(group, name, annotation, help)

    def parse(self, arguments: list[str]) -> dict[str, Any]:
        """Flag name -> value, of those that were given; stray words are added to the `words_to` flag.

        Raises:
          UserError: an unknown flag, a value that does not parse, or a stray word.
        """
        try:
            rest = self.values([self.command, *arguments])[1:]
        except flags.Error as error:
            raise UserError(f"{str(error).rstrip('.')}. See: {self.command} --help") from error
        if rest and self.words_to and self.values[self.words_to].present:
            self.values[self.words_to].value += rest
        elif rest:
            raise UserError(f"{rest[0]!r}: not a flag. See: {self.command} --help")
        given = {name: self.values[name].value for group in self.groups.values() for name in group}
        given = {name: value for name, value in given.items() if value is not None}
        for name, kind in self.numbers.items():
            if name in given:
                given[name] = numbers(given[name], name, kind)
        return given

    def help(self) -> str:
        """The help page."""
        lines = [f"{self.command}: {self.description}"]
        for group, names in self.groups.items():
            lines += ["", f"{group[0].upper()}{group[1:]}:"]
            for name in names:
                text = textwrap.wrap(self.values[name].help, 76)
                lines += [f"  --{name}", *(f"      {line}" for line in text)]
        return "\n".join(lines)


def add_data_flags(flags: FlagGroups) -> None:
    """Defines the flags that say what the images are."""
    flags.add(
        "data",
        "dataset",
        str,
        "digits (embedded, the default), dir:PATH (a folder of images for each class), npz:FILE, or any"
        " TFDS name: mnist, cifar10, ...",
    )
    flags.add(
        "data",
        "data_dir",
        str,
        "Where TFDS finds prepared datasets (default: TFDS_DATA_DIR, then TFDS's own).",
    )
    flags.add(
        "data",
        "image_size",
        str,
        "Resize all images to this, 32 or HEIGHTxWIDTH (default: as they are).",
    )
    flags.add(
        "data",
        "split_seed",
        int,
        "Draws validation and test images where the dataset does not name them (default: 0).",
    )


def add_classifier_flags(flags: FlagGroups, what: str) -> None:
    """Defines the flags that say which classifier; `what` is its part in the command."""
    flags.add(
        "classifier",
        "classifier",
        str,
        f"{what} One of {', '.join(CLASSIFIERS.names())} (default: mnist_cnn for grey images, cifar_cnn for"
        " colour), trained first if there is no trained one yet; or the run directory of a trained one;"
        " or your own: a .keras or .h5 file, or a SavedModel directory.",
    )
    group = "a classifier of your own"
    flags.add(
        group,
        "input_range",
        list,
        "What black and white are to it: 0,255 or -1,1 (default: 0,1). Attacks still work in [0, 1].",
    )
    flags.add(group, "input_mean", list, "Subtracted after that: one number, or one a channel.")
    flags.add(group, "input_std", list, "Divided by after that: one number, or one a channel.")
    flags.add(
        group,
        "unsafe_load",
        bool,
        "Run the Python code that it brings along (Lambda layers). Only for files that you trust.",
    )


def add_device_flags(flags: FlagGroups) -> None:
    """Defines the flags that say what computes."""
    group = "devices"
    flags.add(
        group,
        "strategy",
        str,
        "mirrored: one replica on each GPU, or one on the CPU; one_device; or multi_worker: all the processes"
        " that TF_CONFIG lists, which run this same command (default: mirrored).",
    )
    flags.add(
        group,
        "deterministic",
        bool,
        "Only operations that give the same bits each time (default on the CPU; on GPUs slower).",
    )


@contextlib.contextmanager
def devices(given: dict[str, Any]) -> Iterator[None]:
    """Takes the flags of `add_device_flags` out of `given`; inside, what they name is in force.

    Of several workers only the chief prints what it has to say, and each its own errors.

    Raises:
      WorkFailed: another worker is gone.
    """
    if given.pop("deterministic", not tf.config.list_physical_devices("GPU")):
        tf.config.experimental.enable_op_determinism()
        tf.random.set_seed(0)  # For a model of the user's own that draws without a seed.
    with contextlib.ExitStack() as entered:
        entered.enter_context(strategies.make(given.pop("strategy", "mirrored")).scope())
        if not cluster.is_chief():
            nowhere = entered.enter_context(open(os.devnull, "w"))
            entered.enter_context(contextlib.redirect_stdout(nowhere))
        try:
            yield
        except _WORKER_GONE as error:
            if cluster.worker_count() == 1:
                raise
            raise WorkFailed(
                f"worker {cluster.worker_index()} of {cluster.worker_count()}: another worker is gone or cannot be reached. Start all of"
                " them again with the same command: they go on from the last checkpoint."
                f" TensorFlow says: {reason_of(error)}"
            ) from error


def parsed(given: dict[str, Any]) -> dict[str, Any]:
    """`given` with the values of the flags above, and of lists of numbers, as the code wants them.

    Raises:
      UserError: one of them does not parse.
    """
    given = dict(given)
    if "image_size" in given:
        sides = given["image_size"].lower().split("x")
        require(
            len(sides) in (1, 2) and all(side.isdigit() for side in sides),
            f"--image_size={given['image_size']}: a number, or HEIGHTxWIDTH, needed.",
        )
        given["image_size"] = tuple(int(side) for side in (sides * 2)[:2])
    for flag in ("input_range", "input_mean", "input_std"):
        if flag in given:
            given[flag] = numbers(given[flag], flag)
    return given


def numbers(values: list[str], flag: str, kind: type = float) -> tuple:
    """The numbers of a comma-separated flag; raises `UserError` for anything else."""
    try:
        return tuple(kind(value) for value in values)
    except ValueError:
        needed = "whole numbers" if kind is int else "numbers"
        raise UserError(f"--{flag}={','.join(values)}: {needed} with commas needed.") from None


def installed(command: str) -> str:
    """How to call a command that was installed beside this Python, from where the user stands."""
    path = Path(sys.executable).with_name(command)
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _default(field: dataclasses.Field) -> str:
    return "" if field.default is None else f" (default: {field.default})"


def _present(annotation: Any) -> Any:
    """Of `X | None`, X."""
    if isinstance(annotation, types.UnionType):
        return next(a for a in typing.get_args(annotation) if a is not types.NoneType)
    return annotation
