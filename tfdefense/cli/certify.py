"""bin/certify: flags in front of `evaluation.certification`."""

from pathlib import Path
from typing import Any

from tfdefense.cli.flags import FlagGroups
from tfdefense.errors import require
from tfdefense.evaluation.certification import ROWS, certify, save, table
from tfdefense.experiments.train import load_dataset, load_defense
from tfdefense.training.run_directory import Run

_IMAGES = 500  # As in most publications, which take every twentieth image of 10,000.


def command_flags() -> FlagGroups:
    """The flags of `bin/certify`."""
    flags = FlagGroups(
        "bin/certify",
        "certifies test images by randomized smoothing: for each a class and an L2 radius within which no change turns it. The"
        " same command again goes on where it stopped, also with more images.",
    )
    flags.add("what", "run", str, "Run directory of a trained --defense=denoised_smoothing.")
    flags.add("what", "images", int, f"How many test images (default: {_IMAGES}).")
    flags.add("what", "data_dir", str, "Where TFDS finds the images, if not where they were.")
    flags.add("how", "draws", int, "Noisy copies that judge each image (default: 10000).")
    flags.add("how", "first", int, "Noisy copies that choose its class before (default: 100).")
    flags.add("how", "alpha", float, "How probably a certificate may be wrong (default: 0.001).")
    flags.add("where", "output", str, "Directory (default: RUN/certified).")
    flags.add("where", "overwrite", bool, "Throw away what is in it and start afresh.")
    return flags


def run(given: dict[str, Any]) -> None:
    """Certifies; prints the table and where everything is."""
    require("run" in given, "--run: none given, a run directory of bin/train needed.")
    directory = Run(given["run"])
    count = given.get("images", _IMAGES)
    require(count >= 1, f"--images={count}: at least 1 needed.")
    output = Run(given.get("output", directory.path / "certified"), "output")
    defense = load_defense(directory)
    test = load_dataset(directory, given.get("data_dir")).test.take(count)
    how = {name: given[name] for name in ("draws", "first", "alpha", "overwrite") if name in given}
    certificate = certify(defense, test, output, **how)
    save(certificate, output.path)
    width = max(len(line[0]) for line in table(certificate))
    print("\n".join(f"{radius:{width}}  {share}" for radius, share in table(certificate)))
    print(f"\n{certificate.summary}\n")
    for name, file in (("Table", "certified.md"), ("Curve", "certified.png"), ("Images", ROWS)):
        print(f"{name:14} {Path(output.path) / file}")
