"""bin/export: flags in front of `serving.export`."""

from pathlib import Path
from typing import Any

from tfdefense.cli.flags import FlagGroups, installed
from tfdefense.errors import require
from tfdefense.experiment import load_defense
from tfdefense.runs import Run
from tfdefense.serving import export


def command_flags() -> FlagGroups:
    """The flags of `bin/export`."""
    flags = FlagGroups(
        "bin/export",
        "writes purifier and classifier of a run as one SavedModel, under the next free version number.",
    )
    flags.add("where", "run", str, "Run directory, as bin/train left it.")
    flags.add("where", "output", str, "Where the numbered versions go (default: RUN/export).")
    return flags


def run(given: dict[str, Any]) -> None:
    """Exports a run; prints where to and how to look at it."""
    require("run" in given, "--run: none given, a run directory of bin/train needed.")
    directory = Run(given["run"])
    output = Path(given.get("output", directory.path / "export"))
    path = export(load_defense(directory), output)
    print(f"SavedModel     {path}")
    print(f"Look at it     {installed('saved_model_cli')} show --dir {path} --all")
