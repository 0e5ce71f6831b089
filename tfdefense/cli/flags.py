"""The flags of a command: their definition, their help page and their values."""

import math
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags

from tfdefense.errors import UserError, require, unknown_name

# Flag name -> value, of the flags that were given.
FlagValues = dict[str, Any]

# Command -> old flag -> new flag.
RENAMED_FLAGS: Mapping[str, Mapping[str, str]] = {
    "bin/certify": {"draws": "estimation_samples", "first": "selection_samples"},
}

_INT64 = 2**63


class _AsciiInteger(flags.IntegerParser):
    """Whole number in the range of int64, written with the digits 0 to 9."""

    def __init__(self) -> None:
        super().__init__(-_INT64, _INT64 - 1)

    def convert(self, argument: Any) -> int:
        """Return the number."""
        return int(super().convert(_require_ascii(argument)))


class _AsciiFloat(flags.FloatParser):
    """Finite number written with the digits 0 to 9."""

    def convert(self, argument: Any) -> float:
        """Return the number."""
        return _finite_float(super().convert(_require_ascii(argument)))


def _require_ascii(argument: Any) -> Any:
    """Return a word; raise `ValueError` if it has other digits, which `int` accepts."""
    if isinstance(argument, str) and not argument.isascii():
        raise ValueError("the digits 0 to 9 are needed")
    return argument


def _finite_float(value: Any) -> float:
    """Return a float; raise `ValueError` for infinity and NaN, which no setting may be."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a finite number is needed")
    return number


def _define_number(parser: Any) -> Callable[..., Any]:
    def define(name: str, default: None, help: str, flag_values: flags.FlagValues) -> None:
        flags.DEFINE(parser, name, default, help, flag_values, flags.ArgumentSerializer())

    return define


_DEFINE: Mapping[type, Callable[..., Any]] = {
    str: flags.DEFINE_string,
    int: _define_number(_AsciiInteger()),
    float: _define_number(_AsciiFloat()),
    bool: flags.DEFINE_bool,
    list: flags.DEFINE_list,
}


class CommandFlags:
    """The flags of one command, in groups. A flag that is not given has no value.

    Args:
      command: as typed, "bin/train".
      description: what the command does, for the first line of its help page.
      words_flag: a list flag that takes the words without a flag, if that flag is given.
    """

    def __init__(self, command: str, description: str, words_flag: str | None = None) -> None:
        self.command = command
        self.description = description
        self.words_flag = words_flag
        self.values = flags.FlagValues()
        self.groups: dict[str, list[str]] = {}
        self._number_types: dict[str, type] = {}

    def add(self, group: str, name: str, kind: type, help: str) -> None:
        """Define `--name`.

        Args:
          group: heading on the help page.
          name: of the flag.
          kind: str, int, float, bool, or list (comma-separated strings).
          help: text on the help page.
        """
        _DEFINE[kind](name, None, help, flag_values=self.values)
        self.groups.setdefault(group, []).append(name)

    def add_typed(self, group: str, name: str, annotation: Any, help: str) -> None:
        """Define `--name` for a dataclass field with this annotation."""
        annotation = _without_none(annotation)
        if typing.get_origin(annotation) is tuple:
            self._number_types[name] = typing.get_args(annotation)[0]
            annotation = list
        self.add(group, name, annotation, help)

    def parse(self, arguments: list[str]) -> FlagValues:
        """Return the values of the flags that are given.

        Raises:
          UserError: an unknown or renamed flag, an empty value or one of another type, or a word
            without a flag. Lists of numbers may be empty.
        """
        self._refuse_renamed(arguments)
        try:
            rest = self.values([self.command, *arguments])[1:]
        except flags.UnrecognizedFlagError as error:
            known = [f"--{name}" for group in self.groups.values() for name in group]
            message = unknown_name("flag", f"--{error.flagname}", known)
            raise UserError(f"{message} See: {self.command} --help") from error
        except flags.Error as error:
            raise UserError(f"{str(error).rstrip('.')}. See: {self.command} --help") from error
        names = [name for group in self.groups.values() for name in group]
        values: FlagValues = {name: self.values[name].value for name in names}
        given = {name: value for name, value in values.items() if value is not None}
        if rest and self.words_flag in given:
            given[self.words_flag] += rest
        elif rest:
            raise UserError(f"{rest[0]!r}: not a flag. See: {self.command} --help")
        for name in given.keys() - self._number_types.keys():
            # Such as `--run=$DIR` without DIR, which must not mean the default.
            require(
                given[name] not in ("", []), f"--{name}=: empty. Give a value, or leave it out."
            )
        for name, kind in self._number_types.items():
            if name in given:
                given[name] = parse_numbers(given[name], name, kind)
        return given

    def help(self) -> str:
        """Return the help page."""
        lines = [f"{self.command}: {self.description}"]
        for group, names in self.groups.items():
            lines += ["", f"{group[0].upper()}{group[1:]}:"]
            for name in names:
                text = textwrap.wrap(self.values[name].help, 76)
                lines += [f"  --{name}", *(f"      {line}" for line in text)]
        return "\n".join(lines)

    def _refuse_renamed(self, arguments: list[str]) -> None:
        renamed = RENAMED_FLAGS.get(self.command, {})
        for argument in arguments:
            name = argument.lstrip("-").partition("=")[0]
            new = renamed.get(name) if argument.startswith("-") else None
            require(new is None, f"--{name}: renamed to --{new}.")


def parse_numbers(values: list[str], flag: str, kind: type = float) -> tuple[Any, ...]:
    """Return the numbers of a comma-separated flag; raise `UserError` for anything else."""
    convert = _finite_float if kind is float else kind
    try:
        return tuple(convert(_require_ascii(value)) for value in values)
    except ValueError:
        needed = "whole numbers" if kind is int else "numbers"
        example = "1,2" if kind is int else "0,255"
        raise UserError(
            f"--{flag}={','.join(values)}: {needed} separated by commas are needed, such as {example}."
        ) from None


def _without_none(annotation: Any) -> Any:
    """Return X for the annotation `X | None`."""
    if isinstance(annotation, types.UnionType):
        return next(a for a in typing.get_args(annotation) if a is not types.NoneType)
    return annotation
