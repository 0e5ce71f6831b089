"""The summary of a report in plain sentences."""

from typing import TYPE_CHECKING

from tfdefense.evaluation.checks.check import NOT_CHECKED
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES, WHITE_BOXES
from tfdefense.utils.tables import format_percent

if TYPE_CHECKING:
    from tfdefense.evaluation.report.report import Report
    from tfdefense.evaluation.result import ResultRow

_KNOWLEDGE = {
    "grey_box": "knows only the classifier",
    "white_box": "knows classifier and defence",
    "transfer": "knows only another classifier",
    "black_box": "only queries logits or classes",
}
_STOPPED_SHARE = 0.5  # A defence with less white-box accuracy does not stop an attacker.


def summarize(report: "Report") -> str:
    """Return clean accuracy, robust accuracy under each threat model, and a verdict."""
    clean = report.existing_row(report.defense, "none", "none")
    # With `--fooled_only`, the attacks of a threat model may fool nothing.
    rows = {
        name: row
        for name in report.threat_models()
        if name not in WHITE_BOXES[1:]
        and (row := report.row(report.defense, "worst_case", name)) is not None
    }
    rows["white_box"] = report.white_box_worst_case(report.defense)
    titles = dict(THREAT_MODEL_TITLES)
    if report.is_randomized:
        titles["white_box"] = "white box, worst case of fixed randomness, EOT and resubmissions"
    shares = [
        f"{format_percent(row.accuracy)} (n = {row.n:,}) if the attacker {_KNOWLEDGE[name]} ({titles[name]})"
        for name, row in rows.items()
    ]
    attacks = "every attack with a radius" if report.leaves_attacks_out else "every attack"
    return (
        f"With {report.defense}, {format_percent(clean.accuracy)} of {clean.n:,} clean test images are"
        f" classified correctly. The share of images that stay correct under {attacks} is {_joined(shares)}."
        f" {_verdict(report, clean, rows['white_box'].accuracy)}"
        f"{_detector_sentences(report)}{_epsilon_sentence(report)}"
    )


def _epsilon_sentence(report: "Report") -> str:
    """Return a warning if no attack fools the classifier alone; else ""."""
    clean, attacked = (
        report.row("none", *key) for key in (("none", "none"), ("worst_case", "white_box"))
    )
    if clean is None or attacked is None or attacked.accuracy < clean.accuracy:
        return ""
    attack = "attack with a radius" if report.leaves_attacks_out else "attack"
    return (
        f" No {attack} fools the classifier without the defence, so this report cannot show that the"
        " defence helps. Try a larger --epsilon."
    )


def _verdict(report: "Report", clean: "ResultRow", white_box_accuracy: float) -> str:
    if report.largest_class is not None and clean.ci_low <= report.largest_class:
        return _one_class_sentences(clean, report.largest_class)
    if white_box_accuracy < _STOPPED_SHARE:
        return "The defence does not stop an attacker who knows it."
    if report.failed_checks:
        return (
            f"{len(report.failed_checks)} of {len(report.run_checks)} checks failed, so the true robustness"
            " is unknown."
        )
    if not report.run_checks:
        return "No checks ran, so these attacks may be too weak."
    left_out = sum(check.verdict == NOT_CHECKED for check in report.checks)
    if left_out:
        return (
            f"{left_out} of {len(report.checks)} checks could not run, so these attacks may be too weak. Add an L-infinity attack with a"
            " radius, such as --attacks=apgd_ce."
        )
    attacks = "the attacks with a radius" if report.leaves_attacks_out else "these attacks"
    return (
        f"At least half of the images withstand {attacks}, even if the attacker knows the defence."
    )


def _one_class_sentences(clean: "ResultRow", largest_class: float) -> str:
    """Return a warning that clean accuracy may be no better than that of one class for every image."""
    one_class = f"the same class for every image ({format_percent(largest_class)} correct)"
    if clean.accuracy <= largest_class:
        return (
            f"Clean accuracy is no better than {one_class}, so robustness means nothing here. Train the"
            " defence longer, or choose another."
        )
    return (
        f"Clean accuracy is not shown to be better than {one_class}: its 95 % interval is"
        f" [{100 * clean.ci_low:.1f}, {100 * clean.ci_high:.1f}]. Evaluate more images, or train the"
        " defence longer."
    )


def _detector_sentences(report: "Report") -> str:
    if not report.detections:
        return ""
    pipeline = report.pipeline_names[-1]
    rows = {
        "grey_box": report.row(pipeline, "worst_case", "grey_box"),
        "white_box": report.white_box_worst_case(pipeline),
    }
    shares = [
        f"{format_percent(row.accuracy)} ({THREAT_MODEL_TITLES[name]})"
        for name, row in rows.items()
        if row
    ]
    return (
        " An attacked image that the detector refuses counts as correct. The detector also refuses"
        f" {format_percent(report.detections[0].refused)} of the clean images, and these count as wrong."
        f" Without the detector, the share of images that stay correct is {' and '.join(shares)}."
    )


def _joined(parts: list[str]) -> str:
    """Return "a", "a, and b" or "a, b, and c"."""
    *head, last = parts
    return f"{', '.join(head)}, and {last}" if head else last
