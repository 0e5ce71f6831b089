"""bin/reproduce: flags in front of `papers.reproduce`."""

import re
from pathlib import Path
from typing import Any

from tfdefense.cli.flags import FlagGroups, add_device_flags, devices
from tfdefense.errors import require
from tfdefense.papers import budget, paper
from tfdefense.papers.reproduce import Reproduction
from tfdefense.papers.store import Store


def command_flags() -> FlagGroups:
    """The flags of `bin/reproduce`."""
    flags = FlagGroups(
        "bin/reproduce",
        "runs a paper's tables again, and writes what was measured beside what the paper prints. The same command goes on where it"
        " stopped; several machines may run it in one shared folder.",
    )
    group = "what"
    flags.add(group, "paper", str, f"Of {', '.join(paper.names())}.")
    flags.add(group, "tables", list, "Of the paper's, with commas (default: with --all, all).")
    flags.add(group, "all", bool, "All tables; without --paper, of all papers.")
    flags.add(group, "dataset", str, "mnist or cifar10 alone (default: both).")
    flags.add(
        group,
        "classifiers",
        list,
        "Only figures with these classifiers and no others, in the paper's names, such as MNIST-CNN,LeNet (default: all).",
    )
    budgets = "; ".join(f"{name}: {budget.load(name).about}" for name in budget.names())
    flags.add(group, "budget", str, f"How much is computed (default: cpu). {budgets}.")
    flags.add("where", "output", str, "Tables go to OUTPUT/PAPER (default: results).")
    flags.add("where", "store", str, "Artefacts lie here (default: runs/reproduce).")
    flags.add("where", "data_dir", str, "Where TFDS finds prepared datasets.")
    flags.add("how", "shard", str, "I/N: make the I'th of N parts of the cells (default: 1/1).")
    flags.add("how", "dry_run", bool, "Print what would be made and what it would cost, and stop.")
    add_device_flags(flags)
    return flags


def run(given: dict[str, Any]) -> None:
    """Reproduces; prints where the tables are."""
    with devices(given):
        for each in _reproductions(given):
            if given.get("dry_run"):
                print(each.plan())
            else:
                each.run()


def _reproductions(given: dict[str, Any]) -> list[Reproduction]:
    everything = given.get("all", False)
    require(
        "paper" in given or everything,
        f"--paper: none given, of {', '.join(paper.names())}; or --all.",
    )
    require("tables" in given or everything, "--tables: none given; --all for all of them.")
    require(not ("tables" in given and everything), "--tables: not with --all.")
    store = Store(Path(given.get("store", "runs/reproduce")), given.get("data_dir"))
    return [
        Reproduction(
            name,
            given.get("budget", "cpu"),
            store,
            Path(given.get("output", "results")),
            given.get("tables"),
            given.get("dataset"),
            _shard(given.get("shard", "1/1")),
            given.get("classifiers"),
        )
        for name in ([given["paper"]] if "paper" in given else paper.names())
    ]


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    require(found is not None, f"--shard={text}: I/N with I from 1 to N needed.")
    return int(found[1]), int(found[2])
