"""Flags: given or not, of a wrong type, unknown, renamed."""

import pytest

from tfdefense.cli import certify, evaluate, train
from tfdefense.cli.flags import RENAMED_FLAGS, CommandFlags
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import UserError


@pytest.fixture
def flags():
    flags = CommandFlags("bin/certify", "does something.", words_flag="compare")
    flags.add("what", "run", str, "A run.")
    flags.add("what", "compare", list, "Runs.")
    flags.add("how", "overwrite", bool, "Overwrite.")
    flags.add_typed("how", "widths", tuple[int, ...] | None, "Widths.")
    return flags


def test_only_flags_that_are_given_have_values(flags):
    assert flags.parse([]) == {}
    assert flags.parse(["--run=a", "--overwrite"]) == {"run": "a", "overwrite": True}


def test_numbers_are_parsed(flags):
    assert flags.parse(["--widths=8,16"]) == {"widths": (8, 16)}


def test_words_belong_to_the_list_flag(flags):
    assert flags.parse(["--compare", "a", "b", "c"]) == {"compare": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--widths=8,x"],
            "--widths=8,x: whole numbers separated by commas are needed, such as 1,2.",
        ),
        (["--rum=a"], "unknown flag '--rum'. Did you mean '--run'? "),
        (["stray"], "'stray': not a flag. See: bin/certify --help"),
        (["--draws=7"], "--draws: renamed to --estimation_samples."),
        (["--draws", "7"], "--draws: renamed to --estimation_samples."),
        (["-first=7"], "--first: renamed to --selection_samples."),
    ],
)
def test_wrong_flags(flags, arguments, message):
    with pytest.raises(UserError) as error:
        flags.parse(arguments)
    assert message in str(error.value)


def test_renamed_flags_exist_under_their_new_names_only():
    commands = {"bin/certify": certify, "bin/train": train}
    for command, names in RENAMED_FLAGS.items():
        known = commands[command].command_flags().values
        for old, new in names.items():
            assert new in known
            assert old not in known


def test_help_has_groups_and_wrapped_texts(flags):
    page = flags.help()
    assert page.startswith("bin/certify: does something.\n\nWhat:\n  --run\n      A run.\n")
    assert "\nHow:\n  --overwrite" in page


def test_the_help_names_the_white_box_images_of_slow_defences():
    text, usual = evaluate.command_flags().values["white_box_images"].help, EvaluationBudget()
    for name in DEFENSES.names():
        kind = DEFENSES.get(name)
        if kind.budget.white_box_images != usual.white_box_images:
            assert f"{kind.budget.white_box_images} for {name}" in text
        if kind.is_randomized and kind.budget.eot_images != usual.eot_images:
            assert f"{usual.eot_images}, and {kind.budget.eot_images} for {name}" in text
