"""From a dataset's name to a report and a SavedModel: the stages in a row, each resumable."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense import classifiers, crafting, data
from tfdefense.classifiers import FrozenClassifier, InputFormat, trained
from tfdefense.classifiers.chosen import SETTINGS as CLASSIFIER_SETTINGS
from tfdefense.classifiers.chosen import Chosen
from tfdefense.defenses import DEFENSES
from tfdefense.defenses.base import Defense
from tfdefense.errors import require
from tfdefense.evaluation import Report
from tfdefense.evaluation.judging import Judging, judge, saved_report
from tfdefense.progress import say
from tfdefense.runs import Run, RunConfig
from tfdefense.serving import export
from tfdefense.training import LoopConfig
from tfdefense.training.checkpoints import Checkpoints

DEFAULTS = {"dataset": "digits", "seed": 0, "batch_size": 128}
DATA_SETTINGS = ("dataset", "image_size", "split_seed")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What `train` leaves behind."""

    run: Run
    report: Report
    export: Path


def train(
    settings: Mapping[str, Any],
    run: Run | None = None,
    data_dir: str | None = None,
    overwrite: bool = False,
    runs_dir: str | Path = "runs",
    judging: Judging | None = None,
    pairs: Sequence[str] = (),
    unsafe_load: bool = False,
) -> Outcome:
    """Trains a defence and, where it is missing, its classifier; evaluates; exports.

    What an earlier call with the same settings finished is not done again, and what it left
    half-way is gone on with. Call it in the scope of a `tf.distribute` strategy to use one.

    Args:
      settings: "defense" and any of "dataset", "image_size", "split_seed", "classifier", "input_range",
        "input_mean", "input_std", "epochs", "batch_size", "seed" and the defence's hyperparameters. What is
        left out comes from the run's `config.json` if there is one, else from the defaults.
      run: the run directory; None means `<runs_dir>/<dataset>-<classifier>-<defense>`.
      data_dir: where TFDS finds prepared datasets.
      overwrite: throw away what is in the run directory.
      runs_dir: where default runs and trained classifiers lie.
      judging: how to evaluate; None takes the report that is there, or else makes `Judging()`'s.
      pairs: directories that bin/attack filled, to train on in place of FGSM examples.
      unsafe_load: let a classifier of one's own run its Python while it is read.

    Raises:
      UserError, WorkFailed: as every stage says for itself.
    """
    given, settings, stored = dict(settings), dict(settings), None
    if run is not None and run.exists() and not overwrite:
        stored = run.require_kind("defense")
        settings = {**_unless_given(stored.settings, given), **given}
        settings.pop("pairs", None)
        pairs = pairs or stored.surroundings.get("pairs", ())
        data_dir = data_dir or stored.surroundings.get("data_dir")
    settings = {**DEFAULTS, **settings}
    require("defense" in settings, f"--defense: none given. Known: {', '.join(DEFENSES.names())}.")
    make_defense = DEFENSES.get(settings["defense"])
    config = make_defense.Config(**_hyperparameters(make_defense, settings))
    # Here too, so that a bad number is answered before a large dataset is read.
    LoopConfig(settings.get("epochs", 1), settings["batch_size"], settings["seed"])
    classifier = None
    if "classifier" in given:
        classifier = choose_classifier(given, unsafe_load)
    elif stored and not run.classifier_path.is_file():
        again = stored.surroundings.get("classifier_path") or stored.settings["classifier"]
        classifier = choose_classifier({**settings, "classifier": again}, unsafe_load)
    dataset = load_data(settings, data_dir)
    if "classifier" not in settings:
        default = classifiers.default_for(dataset.image_shape)
        classifier = choose_classifier({**settings, "classifier": default}, unsafe_load)
    about_classifier = (
        {name: settings[name] for name in CLASSIFIER_SETTINGS if name in settings}
        if classifier is None
        else classifier.settings
    )
    loop = make_defense.loop_config(
        dataset.train, settings.get("epochs"), settings["batch_size"], settings["seed"]
    )
    if run is None:
        run = Run(Path(runs_dir) / f"{dataset.name}-{classifier.name}-{settings['defense']}")
    examples = [crafting.load(path) for path in pairs]
    about = {**dataset.settings(), **about_classifier}
    full = make_defense.settings(about, config, loop, examples)
    surroundings = {
        "pairs": [str(Path(path).resolve()) for path in pairs],
        "data_dir": dataset.data_dir,
        "steps": loop.steps(len(dataset.train)),
        "classifier_path": str(classifier.path) if classifier and classifier.path else None,
    }
    opened = None
    if not run.classifier_path.is_file() and classifier.path is not None and not overwrite:
        # Before the run directory is made, so that an unsuitable model leaves nothing behind.
        opened = classifier.open(dataset, runs_dir, settings["seed"])
    run.start(RunConfig("defense", full, surroundings), overwrite)
    say(f"Run directory: {run.path}")
    if not run.classifier_path.is_file():
        opened = opened or classifier.open(dataset, runs_dir, settings["seed"])
        run.save_classifier(opened.model)
    defense = _untrained(run)
    defense.fit(
        dataset.train,
        loop.epochs,
        dataset.validation,
        loop.batch_size,
        loop.seed,
        run=run,
        pairs=examples,
        about=about,
    )
    report = saved_report(run, judging)
    if report is None:
        report = judge(run, defense, dataset, judging or Judging())
    exported = run.latest_export() or export(defense, run.path / "export")
    return Outcome(run, report, exported)


def choose_classifier(settings: Mapping[str, Any], unsafe_load: bool = False) -> Chosen:
    """What "classifier", "input_range", "input_mean" and "input_std" of `settings` name, not yet opened."""
    formats = {
        name: settings[name]
        for name in ("input_range", "input_mean", "input_std")
        if settings.get(name) is not None
    }
    input_format = InputFormat(**formats) if formats else None
    return classifiers.choose(settings["classifier"], input_format, unsafe_load)


def load_data(settings: Mapping[str, Any], data_dir: str | None = None) -> data.Dataset:
    """The dataset that "dataset", "image_size" and "split_seed" of `settings` name."""
    options = {name: settings[name] for name in ("image_size", "split_seed") if name in settings}
    return data.load(settings.get("dataset", DEFAULTS["dataset"]), data_dir, **options)


def train_classifier(
    settings: Mapping[str, Any],
    run: Run | None = None,
    data_dir: str | None = None,
    overwrite: bool = False,
    runs_dir: str | Path = "runs",
) -> tuple[Run, FrozenClassifier]:
    """Trains a registered classifier, or goes on with it; returns it and its run directory.

    Args:
      settings: "classifier" and any of "dataset", "seed" and the fields of `classifiers.Config`.
      run, data_dir, overwrite, runs_dir: as for `train`.

    Raises:
      UserError, WorkFailed: as every stage says for itself.
    """
    settings = dict(settings)
    if run is not None and run.exists() and not overwrite:
        stored = run.require_kind("classifier")
        settings = {**stored.settings, **settings}
        data_dir = data_dir or stored.surroundings.get("data_dir")
    fields = {field.name for field in dataclasses.fields(classifiers.Config)}
    for name in settings:
        require(
            name in fields | {"dataset", "image_size", "split_seed", "classifier", "seed"},
            f"--{name}: not a setting of a classifier, which has {', '.join(sorted(fields))}."
            " (To train a defence: --defense=NAME.)",
        )
    config = classifiers.Config(**{key: settings[key] for key in fields if key in settings})
    name = settings["classifier"]
    require(
        name in classifiers.CLASSIFIERS.entries or not Path(name).exists(),
        f"--classifier={name}: is there already, and is not trained. To guard it: --defense=NAME.",
    )
    architecture = classifiers.CLASSIFIERS.get(name)
    seed = settings.get("seed", DEFAULTS["seed"])
    LoopConfig(1, 1, seed)
    dataset = load_data(settings, data_dir)
    run = run or trained.run_of(architecture, dataset, runs_dir)
    return run, trained.train(architecture, dataset, run, seed, config, overwrite)


def load_defense(run: Run) -> Defense:
    """The trained defence of a run, from the run directory alone.

    Raises:
      UserError: not a defence's run, or its training is not finished.
    """
    steps = run.require_kind("defense").surroundings["steps"]
    defense = _untrained(run)
    step = Checkpoints(defense.networks(), run.path).restore()
    require(
        step >= steps,
        f"--run={run.path}: its training is not finished (step {step:,} of {steps:,})."
        f" Go on with: bin/train --run={run.path}",
    )
    return defense


def load_dataset(run: Run, data_dir: str | None = None) -> data.Dataset:
    """The dataset that the defence of a run was trained on.

    Raises:
      UserError: not a defence's run, or its data is not to be had.
    """
    stored = run.require_kind("defense")
    return load_data(stored.settings, data_dir or stored.surroundings.get("data_dir"))


def _untrained(run: Run) -> Defense:
    """The defence of a run with initial weights, before the classifier that the run keeps."""
    settings = run.config().settings
    make_defense = DEFENSES.get(settings["defense"])
    hyperparameters = _hyperparameters(make_defense, settings)
    return make_defense(run.load_classifier(), settings["seed"], **hyperparameters)


def _hyperparameters(make_defense: type[Defense], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `settings` that belong to the defence; complains of those that belong to nobody."""
    mine = {field.name for field in dataclasses.fields(make_defense.Config)}
    common = {
        "defense",
        "epochs",
        "batch_size",
        "seed",
        "pairs",
        *DATA_SETTINGS,
        *CLASSIFIER_SETTINGS,
    }
    for name in settings:
        require(
            name in mine | common,
            f"--{name}: not a setting of --defense={make_defense.name}, which has {', '.join(sorted(mine))}.",
        )
    return {name: value for name, value in settings.items() if name in mine}


def _unless_given(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's settings say, without what belongs to the dataset or classifier that is given anew."""
    replaced = {
        name
        for group, key in ((DATA_SETTINGS, "dataset"), (CLASSIFIER_SETTINGS, "classifier"))
        if key in given
        for name in group
    }
    return {name: value for name, value in stored.items() if name not in replaced}
