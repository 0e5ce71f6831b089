"""Flags: given or not, of a wrong type, unknown, renamed."""

import re

import pytest

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.cli import certify, evaluate, train
from tfdefense.cli.flags import RENAMED_FLAGS, CommandFlags
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.hyperparameters import SCHEDULES
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import UserError


@pytest.fixture
def flags():
    flags = CommandFlags("bin/certify", "does something.", words_flag="compare")
    flags.add("what", "run", str, "A run.")
    flags.add("what", "compare", list, "Runs.")
    flags.add("how", "overwrite", bool, "Overwrite.")
    flags.add("how", "alpha", float, "Probability.")
    flags.add_typed("how", "widths", tuple[int, ...] | None, "Widths.")
    flags.add_typed("how", "means", tuple[float, ...] | None, "Means.")
    return flags


def test_only_flags_that_are_given_have_values(flags):
    assert flags.parse([]) == {}
    assert flags.parse(["--run=a", "--overwrite"]) == {"run": "a", "overwrite": True}


def test_numbers_are_parsed(flags):
    assert flags.parse(["--widths=8,16"]) == {"widths": (8, 16)}
    assert flags.parse(["--widths="]) == {"widths": ()}


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
        (["--run="], "--run=: empty. Give a value, or leave it out."),
        (["--compare="], "--compare=: empty. Give a value, or leave it out."),
        (["stray"], "'stray': not a flag. See: bin/certify --help"),
        (["--alpha=inf"], "--alpha=inf: a finite number is needed"),
        (["--alpha=nan"], "--alpha=nan: a finite number is needed"),
        (["--means=0,1e999"], "--means=0,1e999: numbers separated by commas are needed"),
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


def test_the_help_names_the_check_images_of_slow_defences():
    text, usual = evaluate.command_flags().values["check_images"].help, EvaluationBudget()
    assert f"default: {usual.check_images};" in text
    for name in DEFENSES.names():
        images = DEFENSES.get(name).budget.check_images
        assert images == usual.check_images or f"{images} for {name}" in text


class Images:
    """A training split of a length, without images."""

    image_shape = (28, 28, 1)

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


LEARNED = {
    name: DEFENSES.get(name)
    for name in DEFENSES.names()
    if issubclass(DEFENSES.get(name), LearnedDefense)
}


@pytest.mark.parametrize("name", LEARNED)
def test_the_help_names_the_default_epochs(name):
    text = train.command_flags().values["epochs"].help
    few, usual, many = (LEARNED[name].default_epochs(Images(n)) for n in (1, 10_000, 10**9))
    if name == "apeganpp":
        assert f"apeganpp at most {few} over fewer than 5,000" in text
        few = LEARNED[name].default_epochs(Images(5_000))
    numbers = f"{10_000 * usual:,} images, {many} to {few}"
    assert f"{name} {numbers}" in text or f"enough for about {numbers}" in text


@pytest.mark.parametrize("name", LEARNED)
def test_the_help_names_the_default_batch_size(name):
    text = train.command_flags().values["batch_size"].help
    few, usual = (LEARNED[name].default_batch_size(Images(n)) for n in (4_999, 5_000))
    assert f"default: {usual}," in text
    assert few == usual or f"{few} of {name} with fewer than 5,000 training images" in text


@pytest.mark.parametrize("name", CLASSIFIERS.names())
def test_the_help_names_the_batch_sizes_of_classifiers(name):
    text, architecture = train.command_flags().values["batch_size"].help, CLASSIFIERS.get(name)
    color = architecture.color.batch_size
    assert f"default: {architecture.grey.batch_size}," in text
    named = re.search(rf"\b{color} of the classifiers ([\w, ]+) in colour", text)
    assert f"default: {color}," in text or (named and name in re.findall(r"\w+", named[1]))


@pytest.mark.parametrize("name", LEARNED)
def test_the_help_names_every_schedule(name):
    fields = LEARNED[name].config_type.__dataclass_fields__
    if "schedule" in fields:
        text = fields["schedule"].metadata["help"]
        assert all(schedule in text for schedule in SCHEDULES)


def test_defences_with_the_same_help_share_it():
    text = train.command_flags().values["schedule"].help
    assert text.count("(default: constant)") == 1
    assert "apegan, cgan, magnet: learning rate over time: " in text
