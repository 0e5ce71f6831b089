"""bin/reproduce: run the tables of a paper again."""

import re
from collections.abc import Sequence
from pathlib import Path

from tfdefense.cli.devices import add_device_flags, pop_device_flags, selected_devices
from tfdefense.cli.flags import CommandFlags, FlagValues
from tfdefense.errors import UserError, WorkFailedError, require
from tfdefense.papers import budget, paper
from tfdefense.papers.reproduce import FigureSelection, Reproduction
from tfdefense.papers.store import TargetStore


def command_flags() -> CommandFlags:
    """Return the flags of `bin/reproduce`."""
    flags = CommandFlags(
        "bin/reproduce",
        "runs the tables of a paper again and writes the measured figures next to the printed ones. To"
        " resume it, repeat the command. Several machines may run it in one shared folder.",
    )
    group = "what"
    flags.add(group, "paper", str, f"One of {', '.join(paper.paper_names())}.")
    flags.add(group, "tables", list, "Tables of the paper, separated by commas (with --all: all).")
    flags.add(group, "all", bool, "All tables; without --paper, those of all papers.")
    flags.add(group, "dataset", str, "Only mnist or only cifar10 (default: both).")
    flags.add(
        group,
        "classifiers",
        list,
        "Only figures with these classifiers, under the names of the paper, such as MNIST-CNN,LeNet (default:"
        " all).",
    )
    budgets = "; ".join(
        f"{name}: {budget.load_budget(name).about}" for name in budget.budget_names()
    )
    flags.add(group, "budget", str, f"Amount of computation (default: cpu). {budgets}.")
    flags.add("where", "output", str, "Directory of the tables, OUTPUT/PAPER (default: results).")
    flags.add(
        "where",
        "store",
        str,
        "Directory of classifiers, adversarial images and defences (default: runs/reproduce).",
    )
    flags.add("where", "data_dir", str, "Directory in which TFDS finds prepared datasets.")
    flags.add("how", "shard", str, "I/N: run part I of N parts of the cells (default: 1/1).")
    flags.add("how", "dry_run", bool, "Print what is missing and what it would cost, and stop.")
    add_device_flags(flags)
    return flags


def run(given: FlagValues) -> None:
    """Reproduce; print where the tables are."""
    devices = pop_device_flags(given)
    reproductions = _reproductions(given)
    if given.get("dry_run"):
        print("\n".join([each.plan() for each in reproductions]))
        return
    with selected_devices(devices):
        _run_all(reproductions)


def _run_all(reproductions: Sequence[Reproduction]) -> None:
    """Run all reproductions; a failure of one does not stop those after it.

    Raises:
      WorkFailedError: some failed; the message has the failures of all.
    """
    failures = []
    for each in reproductions:
        try:
            each.run()
        except WorkFailedError as error:
            failures.append(f"paper {each.paper.name}: {error}")
    if failures:
        raise WorkFailedError("; ".join(failures))


def _reproductions(given: FlagValues) -> list[Reproduction]:
    everything = given.get("all", False)
    require(
        "paper" in given or everything,
        f"--paper: none given. Give one of {', '.join(paper.paper_names())}, or --all.",
    )
    require("tables" in given or everything, "--tables: none given. For all tables: --all.")
    require(not ("tables" in given and everything), "--tables: not allowed with --all.")
    store = TargetStore(Path(given.get("store", "runs/reproduce")), given.get("data_dir"))
    return [
        Reproduction(
            FigureSelection(
                name, given.get("tables"), given.get("dataset"), given.get("classifiers")
            ),
            given.get("budget", "cpu"),
            store,
            Path(given.get("output", "results")),
            _shard(given.get("shard", "1/1")),
        )
        for name in ([given["paper"]] if "paper" in given else paper.paper_names())
    ]


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None:
        raise UserError(f"--shard={text}: I/N with I from 1 to N is needed.")
    return int(found[1]), int(found[2])
