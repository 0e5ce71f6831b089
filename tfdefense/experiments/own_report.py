"""Report of a run, for the card of its model: only one that is about this model."""

import dataclasses

from tfdefense.classifiers.core.fingerprint import is_fingerprint_of
from tfdefense.data import Dataset
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.evaluation import Report
from tfdefense.evaluation.pipelines import name_without_detector
from tfdefense.evaluation.run_evaluation import is_about, load_finished_report
from tfdefense.training.run_directory import RunDirectory


def load_own_report(run: RunDirectory, defense: Defense) -> Report | None:
    """Return the report of a run, or None if it has none.

    Args:
      run: the run directory.
      defense: the trained defence of the run.

    Raises:
      UserError: the report is damaged or of another defence.
    """
    report, path = load_finished_report(run, None), run.path / "report.json"
    require(
        report is not None or not path.exists(),
        f"{path}: damaged, so the model card cannot name the robustness. Make it again with:"
        f" bin/evaluate --run={run.path}",
    )
    own = {"none", defense.name, name_without_detector(defense.name)}
    others = {row.defense for row in report.rows} - own if report else ()
    require(
        not others,
        f"{path}: is of another run (of {', '.join(sorted(others))}; this one trained {defense.name}). Make it"
        f" again with: bin/evaluate --run={run.path}",
    )
    return report


def fits_model(report: Report, defense: Defense, dataset: Dataset | None) -> bool:
    """Return whether a report is about the classifier and the test images of a run.

    The source of transfer attacks does not count: it is not part of the model, and to open it may
    train it.

    Args:
      report: the stored report.
      defense: the defence of the run, with its classifier.
      dataset: the data of the run; None compares only the classifier.
    """
    stored = {name: each for name, each in report.fingerprints.items() if name != "source"}
    if dataset is None:
        return is_fingerprint_of(stored.get("classifier"), defense.classifier)
    return is_about(dataclasses.replace(report, fingerprints=stored), defense, dataset)
