"""A classifier alone, from the names of network and dataset: `bin/train --classifier=NAME`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfdefense.classifiers import CLASSIFIERS, Config, FrozenClassifier
from tfdefense.classifiers.core import cached_training
from tfdefense.errors import require
from tfdefense.experiments.settings import DATA_SETTINGS, DEFAULTS, load_data
from tfdefense.training import LoopConfig
from tfdefense.training.run_directory import Run


def train(
    settings: Mapping[str, Any],
    run: Run | None = None,
    data_dir: str | None = None,
    overwrite: bool = False,
    runs_dir: str | Path = "runs",
) -> tuple[Run, FrozenClassifier]:
    """Trains a registered classifier, or goes on with it; returns it and its run directory.

    Args:
      settings: "classifier" and any of "dataset", "seed" and the fields of `Config`.
      run, data_dir, overwrite, runs_dir: as for `experiment.train`.

    Raises:
      UserError, WorkFailed: as every stage says for itself.
    """
    settings = dict(settings)
    if run is not None and run.exists() and not overwrite:
        stored = run.require_kind("classifier")
        settings = {**stored.settings, **settings}
        data_dir = data_dir or stored.surroundings.get("data_dir")
    fields = {field.name for field in dataclasses.fields(Config)}
    for name in settings:
        require(
            name in fields | {*DATA_SETTINGS, "classifier", "seed"},
            f"--{name}: not a setting of a classifier, which has {', '.join(sorted(fields))}."
            " (To train a defence: --defense=NAME.)",
        )
    config = Config(**{key: settings[key] for key in fields if key in settings})
    name = settings["classifier"]
    require(
        name in CLASSIFIERS.entries or not Path(name).exists(),
        f"--classifier={name}: is there already, and is not trained. To guard it: --defense=NAME.",
    )
    architecture = CLASSIFIERS.get(name)
    seed = settings.get("seed", DEFAULTS["seed"])
    LoopConfig(1, 1, seed)
    dataset = load_data(settings, data_dir)
    run = run or cached_training.run_of(architecture, dataset, runs_dir)
    return run, cached_training.train(architecture, dataset, run, seed, config, overwrite)
