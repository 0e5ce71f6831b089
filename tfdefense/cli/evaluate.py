"""bin/evaluate: flags in front of `experiment.judge`."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from tfdefense.attacks import ATTACKS
from tfdefense.cli.flags import (
    FlagGroups,
    add_classifier_flags,
    add_data_flags,
    add_device_flags,
    devices,
    parsed,
)
from tfdefense.defenses import DEFENSES
from tfdefense.errors import require
from tfdefense.evaluation import Report
from tfdefense.evaluation.protocol import ALL, Judging, judge
from tfdefense.evaluation.report.comparison import compare
from tfdefense.evaluation.report.render import to_text
from tfdefense.evaluation.threat_models import THREAT_MODELS
from tfdefense.experiments.settings import CLASSIFIER_SETTINGS
from tfdefense.experiments.train import find, load_before_another, load_dataset, load_defense
from tfdefense.training.run_directory import Run
from tfdefense.utils.tables import text_table


def command_flags() -> FlagGroups:
    """The flags of `bin/evaluate`."""
    flags = FlagGroups(
        "bin/evaluate",
        words_to="compare",
        description="attacks the defence of a run and writes its report.html, report.md, report.json and figures. A defence that"
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
    flags.add(
        "what",
        "compare",
        list,
        "In their place several run directories, RUN RUN ..., whose reports are put into one table and figure.",
    )
    flags.add("what", "output", str, "Where --compare writes (default: runs/comparison).")
    add_data_flags(flags)
    add_classifier_flags(
        flags, "What it guards; with --run, in place of the one it was trained with."
    )
    flags.add("how", "seed", int, "What is random about the defence (default: 0).")
    flags.add_hyperparameters()
    add_evaluation_flags(flags)
    add_device_flags(flags)
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
        "Radius of the attacks, in [0, 1] (default: 0.3 for grey images, 8/255 for colour; of norm=l2 1.5 and 0.5).",
    )
    flags.add(
        group,
        "images",
        str,
        "Test images for clean, grey-box and transfer rows, or all (the default; 200 for defense_gan).",
    )
    flags.add(
        group,
        "white_box_images",
        int,
        "Test images for white-box and black-box rows, at most (default: 1000; 20 for defense_gan).",
    )
    flags.add(
        group,
        "threat_models",
        list,
        f"Of {', '.join(THREAT_MODELS)}, with commas (default: grey_box,white_box).",
    )
    flags.add(
        group,
        "source",
        str,
        "The classifier that transferred attacks see: whatever --classifier may name.",
    )
    flags.add(
        group,
        "fooled_only",
        bool,
        "Grey box and transfer count only images that fooled the classifier, as Yu et al. 2020 do.",
    )


def judging_from(given: dict[str, Any]) -> Judging | None:
    """Takes the flags of `add_evaluation_flags` out of `given`; None where none is in it."""
    names = [field.name for field in dataclasses.fields(Judging)]
    settings = {name: given.pop(name) for name in names if name in given}
    for name in ("attacks", "threat_models"):
        if name in settings:
            settings[name] = tuple(settings[name])
    images = settings.get("images", ALL)
    if images != ALL:
        require(
            images.removeprefix("-").isdecimal(), f"--images={images}: a number or {ALL} needed."
        )
        settings["images"] = int(images)
    return Judging(**settings) if settings else None


def print_report(report: Report) -> None:
    """The table and what is to be said of it; in red, the checks that failed."""
    print(f"\n{to_text(report)}\n\n{report.summary}")
    print_failures(report)
    passed = len(report.sanity) - len(report.failures)
    print(f"{passed} of {len(report.sanity)} checks of these figures passed.")


def print_failures(report: Report, whose: str = "") -> None:
    """A line for each check that failed, red on a terminal."""
    red, plain = ("\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "")
    for check in report.failures:
        print(f"{red}✗ {whose}{check.name}: no. {check.verdict}{plain}")


def run_comparison(given: dict[str, Any]) -> None:
    """Compares finished runs; prints the table."""
    require("compare" in given, "--output: only --compare has one.")
    for name in given.keys() - {"compare", "output"}:
        require(False, f"--{name}: --compare takes the reports as they are.")
    comparison = compare([Run(path, "compare") for path in given["compare"]])
    directory = Path(given.get("output", "runs/comparison"))
    comparison.save(directory)
    print("\n".join(text_table(comparison.table())))
    for name, report in comparison.reports.items():
        print_failures(report, f"{name}: ")
    print(f"\nComparison     {directory / 'comparison.html'}")


def run(given: dict[str, Any]) -> None:
    """Evaluates a run; prints the table."""
    if "compare" in given or "output" in given:
        run_comparison(given)
        return
    given = parsed(given)
    with devices(given):
        _evaluate(given)


def _evaluate(given: dict[str, Any]) -> None:
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
    print(f"\nReport         {directory.path / 'report.html'}")
