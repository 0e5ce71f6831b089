"""From a dataset's name to a report and a SavedModel: the stages in a row, each resumable."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense import data
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.defenses import named
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.evaluation import Report
from tfdefense.evaluation.protocol import Judging, judge, saved_report
from tfdefense.experiments.plan import Plan, own_hyperparameters, planned, start, untrained
from tfdefense.experiments.settings import choose_classifier, load_data
from tfdefense.serving import export
from tfdefense.serving.core.model_directory import latest
from tfdefense.serving.exporter.variant import Variant
from tfdefense.training.checkpoints import Checkpoints
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import Run


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
        "input_mean", "input_std", "epochs", "train_images", "batch_size", "seed", "mixed_precision", "init_run" and the
        defence's hyperparameters. What is left out comes from the run's `config.json` if there is one, else from the
        defaults.
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
    plan = planned(settings, run, data_dir, overwrite, runs_dir, pairs, unsafe_load)
    defense, run = fitted(plan, overwrite, runs_dir), plan.run
    report = saved_report(run, judging)
    if report is None:
        report = judge(run, defense, plan.dataset, judging or Judging(), runs_dir)
    output = run.path / "export"
    names = plan.dataset.class_names
    multi_worker.by_chief(
        lambda: latest(output) or export(defense, output, class_names=names, report=report)
    )
    return Outcome(run, report, latest(output))


def fitted(plan: Plan, overwrite: bool = False, runs_dir: str | Path = "runs") -> Defense:
    """The defence of a plan, trained to the end: what an earlier call left half-way is gone on with.

    Args:
      plan: what was asked for.
      overwrite, runs_dir: as in `train`.

    Raises:
      UserError, WorkFailed: as `start` and the defence's `fit`.
    """
    beginning = _beginning(plan)
    start(plan, overwrite, runs_dir)
    defense = untrained(plan.run)
    if beginning is not None:
        defense.begin_from(beginning)
    if plan.loop is not None:
        defense.fit(
            plan.train,
            plan.loop.epochs,
            plan.dataset.validation,
            plan.loop.batch_size,
            plan.seed,
            run=plan.run,
            mixed_precision=plan.loop.mixed_precision,
            pairs=plan.examples,
            about=plan.about,
        )
    return defense


def _beginning(plan: Plan) -> Defense | None:
    """The defence that a plan begins with, found to fit before anything is written."""
    if plan.init_run is None:
        return None
    beginning, settings = load_defense(plan.init_run), plan.config.settings
    make_defense = named(settings["defense"])
    hyperparameters = own_hyperparameters(make_defense, settings)
    make_defense(beginning.classifier, plan.seed, **hyperparameters).begin_from(beginning)
    return beginning


def export_run(
    run: Run,
    output: str | Path,
    variant: Variant | None = None,
    version: int | None = None,
    data_dir: str | None = None,
) -> Path:
    """Exports the trained defence of a run, with what its report says in the model card.

    Args:
      run: the run directory.
      output, variant, version: as in `serving.export`.
      data_dir: where TFDS finds the test images on which a variant is compared with the defence.

    Returns:
      The directory written.

    Raises:
      UserError: as `load_defense` and `serving.export`; and the test images are not to be had.
    """
    variant = variant or Variant()
    defense = load_defense(run)
    names = run.config().surroundings.get("class_names", ())
    test = None if variant.is_plain else load_dataset(run, data_dir).test
    report = saved_report(run, None)
    return export(defense, output, variant, version, names, report, test)


def find(
    settings: Mapping[str, Any],
    data_dir: str | None = None,
    runs_dir: str | Path = "runs",
    unsafe_load: bool = False,
) -> tuple[Run, Defense, data.Dataset]:
    """What `train` made by the same settings, ready to be judged.

    A defence that learns nothing needs no training: its run directory is made here. Of one that learns, the
    settings that are left out are the run's own.

    Args:
      settings, data_dir, runs_dir, unsafe_load: as in `train`.

    Raises:
      UserError: it is not trained yet, or otherwise; and as every stage says for itself.
    """
    plan = planned(settings, None, data_dir, False, runs_dir, (), unsafe_load)
    path, dataset = plan.run.path, plan.dataset
    if plan.loop is None:
        start(plan, False, runs_dir)
    else:
        name = plan.config.settings["defense"]
        require(
            plan.run.exists(),
            f"--defense={name}: not trained yet for these images and this classifier (no {path}). The same"
            f" flags to bin/train train it.",
        )
        plan.run.require_same(plan.config, only=settings)
        if not dataset.named_by(plan.run.config().settings):
            # Of another split, test images may be some that it was trained on.
            dataset = load_dataset(plan.run, data_dir)
    return plan.run, load_defense(plan.run), dataset


def load_defense(run: Run, guarded: FrozenClassifier | None = None) -> Defense:
    """The trained defence of a run, from the run directory alone.

    Args:
      run: where it was trained.
      guarded: a classifier to stand before in place of the one that it was trained with, as in tables VII to
        X of the first paper.

    Raises:
      UserError: not a defence's run, its training is not finished, or it can guard no other classifier.
    """
    steps = run.require_kind("defense").surroundings.get("steps")
    require(steps is not None, f"--run={run.path}: made by an older version; train it again.")
    defense = untrained(run, guarded)
    step = Checkpoints(defense.networks(), run.path).restore() if steps else 0
    require(
        step >= steps,
        f"--run={run.path}: its training is not finished (step {step:,} of {steps:,})."
        f" Go on with: bin/train --run={run.path}",
    )
    return defense


def load_before_another(
    run: Run,
    settings: Mapping[str, Any],
    data_dir: str | None = None,
    runs_dir: str | Path = "runs",
    unsafe_load: bool = False,
) -> tuple[Run, Defense, data.Dataset]:
    """The trained defence of a run, before another classifier, and where that is judged.

    Args:
      run: where it was trained.
      settings: "classifier", and "input_range", "input_mean" and "input_std" where they are needed.
      data_dir, runs_dir, unsafe_load: as in `train`.

    Raises:
      UserError: as `load_defense`; and the classifier is not to be had or not for these images.
    """
    run.require_kind("defense")
    chosen = choose_classifier(settings, unsafe_load)
    dataset = load_dataset(run, data_dir)
    guarded = chosen.open(dataset, runs_dir, run.config().settings["seed"])
    defense = load_defense(run, guarded)
    judged = Run(run.path / f"guarding-{chosen.name}")
    multi_worker.by_chief(lambda: judged.path.mkdir(exist_ok=True))
    return judged, defense, dataset


def load_dataset(run: Run, data_dir: str | None = None) -> data.Dataset:
    """The dataset that the defence of a run was trained on.

    Raises:
      UserError: not a defence's run, or its data is not to be had.
    """
    stored = run.require_kind("defense")
    return load_data(stored.settings, data_dir or stored.surroundings.get("data_dir"))
