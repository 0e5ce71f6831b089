"""Training of a defence: every stage from a dataset's name to a report and a SavedModel."""

import dataclasses
from pathlib import Path

from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses.core.copy_weights import copy_weights
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.core.training_inputs import TrainingData
from tfdefense.evaluation import Report
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.report.render import accuracy_table_lines
from tfdefense.evaluation.run_evaluation import (
    evaluate_run,
    is_about,
    load_finished_report,
    require_evaluation_time,
)
from tfdefense.experiments.config import ExperimentConfig
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.create_run import create_run
from tfdefense.experiments.load import load_defense
from tfdefense.experiments.plan import TrainingPlan, plan_training
from tfdefense.serving import ModelFacts, export
from tfdefense.serving.core.model_directory import latest_version
from tfdefense.training.checkpoints import has_checkpoint
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.run_files import (
    has_file_hashes,
    require_original_files,
    save_file_hashes,
)
from tfdefense.utils.progress import print_line
from tfdefense.utils.untrusted_file import read_text_file


@dataclasses.dataclass(frozen=True)
class TrainedExperiment:
    """Results of `train`.

    Attributes:
      run: the run directory.
      report: the evaluation.
      export: directory of the exported model.
    """

    run: RunDirectory
    report: Report
    export: Path


def train(
    config: ExperimentConfig,
    context: ExperimentContext | None = None,
    run: RunDirectory | None = None,
) -> TrainedExperiment:
    """Train a defence and, if it is missing, its classifier; evaluate; export.

    A stage that an earlier call with the same settings finished is skipped, and one that it began
    is resumed. Call it in the scope of a `tf.distribute` strategy to use that strategy.

    Args:
      config: what to train and how to evaluate it.
      context: directories and permissions.
      run: the run directory; None means `<runs_dir>/<dataset>-<classifier>-<defense>`.

    Raises:
      UserError: an input is missing or unsuitable, or the run directory has other settings.
      WorkFailedError: a loss is no longer finite, or a file cannot be written.
    """
    context = context or ExperimentContext()
    with context.trust():
        return _train(config, context, run)


def _train(
    config: ExperimentConfig, context: ExperimentContext, run: RunDirectory | None
) -> TrainedExperiment:
    plan = plan_training(config, context, run)
    evaluation, run = config.evaluation or EvaluationConfig(), plan.run
    has_report = not context.overwrite and load_finished_report(run, config.evaluation) is not None
    defense = _train_planned(plan, context, None if has_report else evaluation)
    report = load_finished_report(run, config.evaluation)
    if report is not None and multi_worker.any_worker(
        not is_about(report, defense, plan.dataset, context.runs_dir)
    ):
        print_line(
            f"{run.path}: the test images or a classifier changed since its report, so the defence is"
            " evaluated again."
        )
        report = None
        _require_time(defense, plan, context, evaluation)
    if report is None:
        report = evaluate_run(run, defense, plan.dataset, evaluation, context.runs_dir)
    output, data = run.path / "export", plan.dataset
    facts = ModelFacts(data.class_names, report, validation_images=data.validation)
    multi_worker.run_on_chief(
        lambda: None if _is_exported(output, report) else export(defense, output, facts=facts)
    )
    exported = latest_version(output)
    assert exported is not None
    return TrainedExperiment(run, report, exported)


def _is_exported(output: Path, report: Report) -> bool:
    """Return whether the model card of the latest export has the table of this report."""
    exported = latest_version(output)
    if exported is None:
        return False
    card = exported / "model_card.md"
    return not card.is_file() or set(accuracy_table_lines(report)) <= set(
        read_text_file(card).splitlines()
    )


def train_defense(
    config: ExperimentConfig,
    context: ExperimentContext | None = None,
    run: RunDirectory | None = None,
) -> Defense:
    """Train a defence without evaluating or exporting it; arguments and errors as in `train`."""
    context = context or ExperimentContext()
    with context.trust():
        return _train_planned(plan_training(config, context, run), context)


def _train_planned(
    plan: TrainingPlan, context: ExperimentContext, evaluation: EvaluationConfig | None = None
) -> Defense:
    """Return the defence of a plan, trained; training that an earlier call began is resumed.

    Args:
      plan: the training.
      context: directories and permissions.
      evaluation: evaluation whose time is estimated before the defence is trained; None if there is
        none to come.
    """
    is_new = multi_worker.any_worker(not has_checkpoint(plan.run.path))
    initial = _load_initial_defense(plan) if is_new or context.overwrite else None
    create_run(plan, context)
    require_original_files(plan.run)
    classifier = FrozenClassifier(plan.run.load_classifier(), plan.dataset.image_shape)
    defense = plan.config.defense.build(classifier)
    if plan.config.evaluation is not None:
        plan.config.evaluation.require_usable_on(defense)
    if evaluation is not None:
        _require_time(defense, plan, context, evaluation)
    if isinstance(defense, LearnedDefense) and plan.loop is not None:
        if initial is not None:
            copy_weights(initial, defense)
        data = TrainingData(plan.train, plan.dataset.validation, plan.pairs, plan.pair_weights)
        defense.run_training(data, plan.loop, plan.config.to_settings(), plan.run)
    elif not has_file_hashes(plan.run):
        save_file_hashes(plan.run, step=0)
    return defense


def _load_initial_defense(plan: TrainingPlan) -> Defense | None:
    """Load the defence whose weights training begins with, and check that they fit."""
    if plan.init_run is None:
        return None
    initial = load_defense(plan.init_run)
    defense = plan.config.defense.build(initial.classifier)
    assert isinstance(defense, LearnedDefense)
    copy_weights(initial, defense)
    return initial


def _require_time(
    defense: Defense, plan: TrainingPlan, context: ExperimentContext, evaluation: EvaluationConfig
) -> None:
    """Raise `UserError` if an evaluation may take longer than `context.max_hours`."""
    if context.max_hours is not None:
        runs_dir, hours = context.runs_dir, context.max_hours
        require_evaluation_time(defense, plan.dataset, evaluation, runs_dir, max_hours=hours)
