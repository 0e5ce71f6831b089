"""bin/evaluate: flags in front of `experiment.judge`."""

from typing import Any

from tfdefense.attacks import ATTACKS
from tfdefense.choices import CLASSIFIER_SETTINGS
from tfdefense.cli.flags import FlagGroups, add_classifier_flags, add_data_flags, parsed
from tfdefense.defenses import DEFENSES
from tfdefense.errors import require
from tfdefense.evaluation import Report
from tfdefense.evaluation.judging import Judging, judge
from tfdefense.experiment import find, load_before_another, load_dataset, load_defense
from tfdefense.runs import Run


def command_flags() -> FlagGroups:
    """The flags of `bin/evaluate`."""
    flags = FlagGroups(
        "bin/evaluate",
        "attacks the defence of a run and writes its report.json, report.md and gallery.png. A defence that"
        " learns nothing needs no run: --defense=NAME makes one.",
    )
    flags.add("what", "run", str, "Run directory, as bin/train left it.")
    flags.add(
        "what",
        "defense",
        str,
        f"In its place the defence, trained before if it learns: {', '.join(DEFENSES.names())}; or several"
        " in sequence, a+b.",
    )
    add_data_flags(flags)
    add_classifier_flags(
        flags, "What it guards; with --run, in place of the one it was trained with."
    )
    flags.add("how", "seed", int, "What is random about the defence (default: 0).")
    flags.add_hyperparameters()
    add_evaluation_flags(flags)
    return flags


def add_evaluation_flags(flags: FlagGroups) -> None:
    """Defines the flags that say how a defence is judged."""
    group = "evaluation"
    flags.add(
        group,
        "attacks",
        list,
        f"Of {', '.join(ATTACKS.names())}, with commas, each perhaps with hyperparameters"
        " behind colons, cw:targets=random:confidence=1 (default: fgsm, fgsm_predicted, bim, pgd).",
    )
    flags.add(
        group,
        "epsilon",
        float,
        "Radius of the attacks, in [0, 1] (default: 0.3 for grey images, 8/255 for colour).",
    )
    flags.add(
        group,
        "images",
        int,
        "Test images for clean and grey-box rows (default: all; 200 for defense_gan).",
    )
    flags.add(
        group,
        "white_box_images",
        int,
        "Test images for white-box rows, at most (default: 1000; 20 for defense_gan).",
    )


def judging_from(given: dict[str, Any]) -> Judging | None:
    """Takes the flags of `add_evaluation_flags` out of `given`; None where none is in it."""
    names = ("attacks", "epsilon", "images", "white_box_images")
    settings = {name: given.pop(name) for name in names if name in given}
    if "attacks" in settings:
        settings["attacks"] = tuple(settings["attacks"])
    return Judging(**settings) if settings else None


def print_report(report: Report) -> None:
    """The table and what is to be said of it."""
    print(f"\n{report.to_text()}\n\n{report.summary}")
    for line in report.sanity:
        print(f"Check: {line}")


def run(given: dict[str, Any]) -> None:
    """Evaluates a run; prints the table."""
    given = parsed(given)
    judging = judging_from(given) or Judging()
    directory, data_dir = given.pop("run", None), given.pop("data_dir", None)
    unsafe_load = given.pop("unsafe_load", False)
    if directory is not None:
        for name in given.keys() - set(CLASSIFIER_SETTINGS):
            require(False, f"--{name}: the --run has its own; give one or the other.")
        directory = Run(directory)
    if directory is not None and given:
        require("classifier" in given, f"--{min(given)}: of no --classifier.")
        directory, defense, dataset = load_before_another(
            directory, given, data_dir, unsafe_load=unsafe_load
        )
    elif directory is not None:
        defense, dataset = load_defense(directory), load_dataset(directory, data_dir)
    else:
        require("defense" in given, "--run: none given, and no --defense in its place.")
        directory, defense, dataset = find(given, data_dir, unsafe_load=unsafe_load)
    print_report(judge(directory, defense, dataset, judging))
    print(f"\nReport         {directory.path / 'report.md'}")
