"""Every flag that a text of the package names exists: error messages, help pages, docstrings."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import tfdefense
from tfdefense.cli.main import COMMANDS

PACKAGE = Path(tfdefense.__file__).parent
# Of help pages, of TensorBoard, saved_model_cli and TF Serving, of `zoo.build`; "--name" is any.
OTHERS = {"help", "logdir", "dir", "all", "enable_batching", "unreliable", "name"}
FLAG = re.compile(r"(?<![\w-])--([a-z]\w*)")
# A command and what follows it in its sentence.
COMMAND = re.compile(rf"bin/({'|'.join(COMMANDS)})\b((?:(?!\. |; |: |bin/).)*)", re.DOTALL)


@pytest.fixture(scope="module")
def flags():
    """Command -> the flags that it takes."""
    commands = {name: importlib.import_module(f"tfdefense.cli.{name}") for name in COMMANDS}
    return {name: set(each.command_flags().values) for name, each in commands.items()}


@pytest.fixture(scope="module")
def texts():
    """Each text of the package with the name of its file."""
    return list(read_texts())


def read_texts():
    """Yield each text in the package with the name of its file; values in it become X."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        inside = {id(part) for node in formatted(tree) for part in node.values}
        for node in formatted(tree):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield path.name, "".join(parts)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in inside:
                yield path.name, str(node.value)


def formatted(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]


def unknown_flags(text, known):
    return [
        name
        for name in FLAG.findall(text)
        if not {name, name.removeprefix("no")} & {*known, *OTHERS}
    ]


def test_every_flag_in_a_text_exists(flags, texts):
    known = set().union(*flags.values())
    found = {(place, name) for place, text in texts for name in unknown_flags(text, known)}
    assert found == set()


def test_every_command_in_a_text_takes_the_flags_that_follow_it(flags, texts):
    found = {
        (place, f"bin/{command}", name)
        for place, text in texts
        for command, rest in COMMAND.findall(text)
        for name in unknown_flags(rest, flags[command])
    }
    assert found == set()


def test_the_search_sees_a_command_in_a_message(flags):
    assert [
        (command, unknown_flags(rest, flags[command]))
        for command, rest in COMMAND.findall(
            "Make it with bin/evaluate --overwrite. Or with --run."
        )
    ] == [("evaluate", ["overwrite"])]
