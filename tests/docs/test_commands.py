"""Every command in README and docs has flags that the command's own parser accepts."""

import importlib

import pytest

from tests.docs.markdown import PAGES, commands, name_of
from tfdefense.cli.main import COMMANDS


def accepts(command, arguments):
    """Parse the arguments of a command; raises `UserError` if its parser refuses them."""
    assert command in COMMANDS
    if "--help" not in arguments:
        importlib.import_module(f"tfdefense.cli.{command}").command_flags().parse(arguments)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_parse(page):
    for place, command, arguments in commands(page):
        try:
            accepts(command, arguments)
        except Exception as error:
            pytest.fail(f"{place}: {command} {' '.join(arguments)}: {error}")


def test_there_are_commands_to_check():
    found = {command for page in PAGES for _, command, _ in commands(page)}
    assert found == set(COMMANDS)
