"""bin/export: flags in front of `experiment.export_run`."""

from pathlib import Path
from typing import Any

from tfdefense.cli.flags import FlagGroups, installed
from tfdefense.errors import require
from tfdefense.experiments.train import export_run
from tfdefense.serving.exporter.variant import Variant
from tfdefense.training.run_directory import Run


def command_flags() -> FlagGroups:
    """The flags of `bin/export`."""
    flags = FlagGroups(
        "bin/export",
        "writes purifier and classifier of a run as one SavedModel, under the next free version number.",
    )
    flags.add("where", "run", str, "Run directory, as bin/train left it.")
    flags.add(
        "where",
        "output",
        str,
        "Where the numbered versions go; its name is the model's (default: RUN/export; RUN/tflite).",
    )
    flags.add(
        "where", "version", int, "The version's number, not taken yet (default: the next free one)."
    )
    group = "how"
    flags.add(group, "format", str, "saved_model (the default), or tflite.")
    flags.add(
        group,
        "precision",
        str,
        "Of the weights: float32 (the default); float16, half the size; bfloat16, half the size and computed with as it is"
        " (SavedModel only); int8, a quarter (TFLite only). Anything but a SavedModel in float32 is compared with the defence on"
        " test images.",
    )
    flags.add(group, "max_batch", int, "Images that one request may bring (default: 4096).")
    flags.add(group, "data_dir", str, "Where TFDS finds the test images, if not where they were.")
    return flags


def run(given: dict[str, Any]) -> None:
    """Exports a run; prints where to and how to look at it."""
    require("run" in given, "--run: none given, a run directory of bin/train needed.")
    directory = Run(given["run"])
    settings = {name: given[name] for name in ("format", "precision", "max_batch") if name in given}
    variant = Variant(**settings)
    servable = variant.format == "saved_model"
    usual = "export" if servable else variant.format
    output = Path(given.get("output", directory.path / usual))
    path = export_run(directory, output, variant, given.get("version"), given.get("data_dir"))
    print(f"{'SavedModel' if servable else 'TFLite':14} {path}")
    print(f"Model card     {path / 'model_card.md'}")
    if servable:
        print(f"Look at it     {installed('saved_model_cli')} show --dir {path} --all")
    print(f"Use it         bin/purify --model={output} --input=FOLDER --output=FOLDER")
