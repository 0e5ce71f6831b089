"""Conditions under which reports can be compared in one table."""

from tfdefense.classifiers.core.fingerprint import fingerprints_agree
from tfdefense.errors import require
from tfdefense.evaluation.report.report import Report


def require_comparable(first: tuple[str, Report], second: tuple[str, Report]) -> None:
    """Raise `UserError` unless two named reports are on the same images and classifier."""
    (first_name, first_report), (second_name, second_report) = first, second
    for field in ("dataset", "classifier"):
        ours, theirs = (getattr(report.rows[0], field) for report in (first_report, second_report))
        require(
            ours == theirs,
            f"--compare: {first_name} has {field} {ours}, {second_name} has {theirs}. Give runs with the"
            f" same {field}.",
        )
    for name in first_report.fingerprints:
        ours, theirs = (each.fingerprints.get(name) for each in (first_report, second_report))
        what = f"have different {name.partition('_')[0]} of the same name"
        if name == "source":
            what = "have transfer rows from different --source classifiers"
        require(
            fingerprints_agree(ours, theirs),
            f"--compare: {first_name} and {second_name} {what} (other weights, other files or another"
            " --split_seed). Give runs with the same.",
        )
    ours, theirs = (
        each.settings.get("fooled_only", False) for each in (first_report, second_report)
    )
    require(
        ours == theirs,
        f"--compare: {first_name if ours else second_name} counts only images that fooled the classifier"
        f" (--fooled_only), {second_name if ours else first_name} counts all. Give runs with the same"
        " --fooled_only.",
    )
