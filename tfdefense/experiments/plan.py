"""What a training is asked for, checked and written down before it begins."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense import data
from tfdefense.attacks.core import adversarial_dataset
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.classifiers.resolve import Chosen
from tfdefense.defenses import DEFENSES, named
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.errors import require
from tfdefense.experiments.settings import (
    CLASSIFIER_SETTINGS,
    DATA_SETTINGS,
    DEFAULTS,
    choose_classifier,
    choose_default_classifier,
    load_data,
    merged,
)
from tfdefense.training import BATCH_SIZE, LoopConfig
from tfdefense.training.run_directory import Run, RunConfig
from tfdefense.utils.hashing import hashed
from tfdefense.utils.progress import say


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that `train` was asked for, checked, before anything is written or trained.

    Attributes:
      run: the directory, which need not exist yet.
      dataset, train: the images, and those that the defence learns from.
      examples, seed, loop: on what else, and how long; no loop where nothing is learned.
      classifier: what is guarded; None where the run holds it already.
      about: what tells data, classifier and beginning from others.
      init_run: the trained defence whose weights it begins with; None for weights by the seed.
      config: what the run's `config.json` holds, or will.
    """

    run: Run
    dataset: data.Dataset
    train: data.Split
    examples: list[adversarial_dataset.Examples]
    seed: int
    loop: LoopConfig | None
    classifier: Chosen | None
    about: dict[str, Any]
    init_run: Run | None
    config: RunConfig


def planned(
    given: Mapping[str, Any],
    run: Run | None,
    data_dir: str | None,
    overwrite: bool = False,
    runs_dir: str | Path = "runs",
    pairs: Sequence[str] = (),
    unsafe_load: bool = False,
) -> Plan:
    """Checks all that is asked for; see `experiment.train`."""
    settings, stored = dict(given), None
    if run is not None and run.exists() and not overwrite:
        stored = run.require_kind("defense")
        settings = merged(stored.settings, given)
        settings.pop("pairs", None)
        pairs = pairs or stored.surroundings.get("pairs", ())
        settings["init_run"] = given.get("init_run") or stored.surroundings.get("init_run")
        data_dir = data_dir or stored.surroundings.get("data_dir")
    settings = {**DEFAULTS, **settings}
    beginning = settings.pop("init_run", None)
    require("defense" in settings, f"--defense: none given. Known: {', '.join(DEFENSES.names())}.")
    make_defense = named(settings["defense"])
    config = make_defense.Config(**own_hyperparameters(make_defense, settings))
    learns = issubclass(make_defense, LearnedDefense)
    require(
        learns or not pairs, f"--pairs: --defense={make_defense.name} learns nothing from them."
    )
    require(learns or not beginning, f"--init_run: --defense={make_defense.name} learns nothing.")
    init_run = Run(Path(beginning), "init_run") if beginning else None
    batch_size, seed = settings.get("batch_size", BATCH_SIZE), settings["seed"]
    # Here too, so that a bad number is answered before a large dataset is read.
    mixed_precision = settings.get("mixed_precision", "float32")
    LoopConfig(settings.get("epochs", 1), batch_size, seed, mixed_precision)
    classifier = None
    if "classifier" in given:
        classifier = choose_classifier(given, unsafe_load)
    elif stored and not run.classifier_path.is_file():
        again = stored.surroundings.get("classifier_path") or stored.settings["classifier"]
        classifier = choose_classifier({**settings, "classifier": again}, unsafe_load)
    dataset = load_data(settings, data_dir)
    if "classifier" not in settings:
        classifier = choose_default_classifier(settings, dataset, unsafe_load)
    about = {name: settings[name] for name in CLASSIFIER_SETTINGS if name in settings}
    about = {**dataset.settings(), **(classifier.settings if classifier else about)}
    train = _first(dataset, settings.get("train_images"))
    if len(train) < len(dataset.train):
        about["train_images"] = len(train)
    if init_run is not None:
        about["init_run"] = _described(init_run)
    loop = None
    if learns:
        loop = make_defense.loop_config(
            train, settings.get("epochs"), batch_size, seed, mixed_precision
        )
    if run is None:
        run = Run(Path(runs_dir) / f"{dataset.name}-{classifier.name}-{settings['defense']}")
    examples = [adversarial_dataset.load(path) for path in pairs]
    full = make_defense.settings(about, config, seed, loop, examples)
    surroundings = {
        "pairs": [str(Path(path).resolve()) for path in pairs],
        "data_dir": dataset.data_dir,
        "class_names": list(dataset.class_names),
        "steps": loop.steps(len(train)) if loop else 0,
        "init_run": str(init_run.path.resolve()) if init_run else None,
        "classifier_path": str(classifier.path) if classifier and classifier.path else None,
    }
    config = RunConfig("defense", full, surroundings)
    return Plan(run, dataset, train, examples, seed, loop, classifier, about, init_run, config)


def start(plan: Plan, overwrite: bool, runs_dir: str | Path) -> None:
    """Makes the run directory with its classifier in it, or accepts the one that is there."""
    run, opened = plan.run, None
    if plan.classifier and plan.classifier.path and (overwrite or not run.exists()):
        # Before the directory is made: a model that will not do leaves nothing behind.
        opened = plan.classifier.open(plan.dataset, runs_dir, plan.seed)
    run.start(plan.config, overwrite)
    say(f"Run directory: {run.path}")
    if not run.classifier_path.is_file():
        opened = opened or plan.classifier.open(plan.dataset, runs_dir, plan.seed)
        run.save_classifier(opened.model)


def untrained(run: Run, guarded: FrozenClassifier | None = None) -> Defense:
    """The defence of a run with initial weights, before the classifier that the run keeps, or before `guarded`."""
    settings = run.config().settings
    make_defense = named(settings["defense"])
    hyperparameters = own_hyperparameters(make_defense, settings)
    kept = run.load_classifier()
    defense = make_defense(guarded or kept, settings["seed"], **hyperparameters)
    require(
        guarded is None or not defense.replaces_classifier,
        f"--classifier: {defense.name} is a classifier itself and guards no other.",
    )
    defense.trained_with = kept.name
    return defense


def _described(init_run: Run) -> str:
    """The defence of a run and a hash of its settings, which make it what it is."""
    settings = init_run.require_kind("defense").settings
    return f"{settings['defense']}-{hashed([json.dumps(settings, sort_keys=True).encode()])[:12]}"


def _first(dataset: data.Dataset, count: int | None) -> data.Split:
    """The first `count` training images, which are in a random order; all of them for None."""
    every = len(dataset.train)
    require(
        count is None or 1 <= count <= every,
        f"--train_images={count}: 1 to {every:,}, all training images of {dataset.name}, needed.",
    )
    return dataset.train if count is None else dataset.train.take(count)


def own_hyperparameters(make_defense: type[Defense], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `settings` that belong to the defence; complains of those that belong to nobody."""
    mine = {field.name for field in dataclasses.fields(make_defense.Config)}
    common = {"defense", "seed", *DATA_SETTINGS, *CLASSIFIER_SETTINGS}
    if issubclass(make_defense, LearnedDefense):
        common |= {"epochs", "train_images", "batch_size", "mixed_precision", "pairs", "init_run"}
    for name in settings:
        require(
            name in mine | common,
            f"--{name}: not a setting of --defense={make_defense.name}, which has {', '.join(sorted(mine))}.",
        )
    return {name: value for name, value in settings.items() if name in mine}
