"""Evaluation of a run directory: from its settings to the files of the report."""

import contextlib
import dataclasses
from pathlib import Path

from tfdefense import classifiers
from tfdefense.classifiers.core.fingerprint import is_fingerprint_of
from tfdefense.data.core.dataset import Dataset
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import UserError
from tfdefense.evaluation.attack_time import require_time
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.evaluator import Evaluator
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.report.gallery import save_gallery
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.report.report_files import save_report
from tfdefense.evaluation.report.report_notes import report_fingerprints
from tfdefense.networks.surrogates import requested_surrogates, use_surrogates
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.untrusted_file import read_text_file


def evaluate_run(
    run: RunDirectory,
    defense: Defense,
    dataset: Dataset,
    config: EvaluationConfig,
    runs_dir: str | Path = "runs",
) -> Report:
    """Evaluate a defence and write the report into its run directory.

    Args:
      run: the run directory.
      defense: the defence of the run.
      dataset: data whose test images are attacked.
      config: how to evaluate.
      runs_dir: where adversarial images are stored and reused.
    """
    config.require_usable_on(defense)
    config.require_usable_with(dataset.test)
    multi_worker.run_on_chief(run.lock)
    plan = config.attack_plan(dataset, runs_dir, defense.seed)
    test = config.test_split(defense, dataset)
    report = evaluate_plan(defense, test, plan)
    report = dataclasses.replace(report, settings=config.settings())
    attacks = config.attacks_on(dataset.image_shape, dataset.num_classes)
    # Killed from here on, the run has files of two evaluations: it must not look finished.
    multi_worker.run_on_chief(lambda: (run.path / "report.json").unlink(missing_ok=True))
    with use_surrogates(*(plan.surrogates or requested_surrogates())):
        save_gallery(defense, test, attacks, run.path / "gallery.png", dataset.class_names)
    multi_worker.run_on_chief(lambda: save_report(report, run))
    return report


def require_evaluation_time(
    defense: Defense,
    dataset: Dataset,
    config: EvaluationConfig,
    runs_dir: str | Path = "runs",
    *,
    max_hours: float,
) -> None:
    """Raise `UserError` if the attacks of an evaluation may take longer than `max_hours`.

    Args:
      defense: the defence, which need not be trained yet.
      dataset: data whose test images are attacked.
      config: how to evaluate.
      runs_dir: where trained classifiers are stored and reused.
      max_hours: the limit.

    Raises:
      UserError: the attacks may take longer, or the settings do not suit the defence or the images.
    """
    # An unsuitable setting must not cost the training of the source, which `attack_plan` opens.
    config.require_usable_on(defense)
    config.require_usable_with(dataset.test)
    test = config.test_split(defense, dataset)
    plan = config.attack_plan(dataset, runs_dir, defense.seed).completed(defense, test)
    with use_surrogates(*(plan.surrogates or requested_surrogates())):
        require_time(Evaluator(defense, test, plan).planned_attacks(), max_hours)


def load_finished_report(run: RunDirectory, config: EvaluationConfig | None) -> Report | None:
    """Return the report of a run, or None if it has none with these settings.

    Args:
      run: the run directory.
      config: the settings; None accepts any.
    """
    path = run.path / "report.json"
    if path.is_file():
        with contextlib.suppress(Exception):  # Damage raises many types; a new report replaces it.
            report = Report.from_json(read_text_file(path))
            # A report of an earlier version lacks settings that are new since then.
            settings = {**EvaluationConfig().settings(), **report.settings}
            if config is None or settings == config.settings():
                return report
    return None


def is_about(
    report: Report, defense: Defense, dataset: Dataset, runs_dir: str | Path = "runs"
) -> bool:
    """Return whether a report is about these test images and classifiers, as far as it knows.

    Args:
      report: a stored report; one of an earlier version knows none of them.
      defense: the defence of the run.
      dataset: the data of the run, whose files may have changed since.
      runs_dir: where trained classifiers are, for the source of transfer attacks.
    """
    clean = report.row(report.defense, "none", "none")
    if clean is None:
        return False
    stored = dict(report.fingerprints)
    has_all_images = f"images_{clean.n}" in stored  # Not in a report of an earlier version.
    if has_all_images and not _has_count_of_settings(report, clean.n, defense, dataset):
        return False
    if not is_fingerprint_of(stored.pop("classifier", None), defense.classifier):
        return False
    if (source := stored.pop("source", None)) is not None:
        try:
            reference = classifiers.choose(str(report.settings["source"]), flag="source")
            if not is_fingerprint_of(source, reference.open(dataset, runs_dir, defense.seed)):
                return False
        except (KeyError, UserError):  # It is gone, or cannot be opened any more.
            return False
    current = report_fingerprints(defense, dataset.test.take(clean.n))
    return all(current.get(name) == hash for name, hash in stored.items())


def _has_count_of_settings(report: Report, n: int, defense: Defense, dataset: Dataset) -> bool:
    """Return whether the settings of a report still give `n` test images.

    Any number is one of a report that does not store its settings.
    """
    if "images" not in report.settings:
        return True
    try:
        config = EvaluationConfig(images=report.settings["images"])
    except UserError:  # The file is damaged.
        return False
    return len(config.test_split(defense, dataset)) == n
