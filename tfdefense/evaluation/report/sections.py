"""Sections of a report page."""

from collections.abc import Collection
from typing import Any

from tfdefense.evaluation.checks.check import CheckResult
from tfdefense.evaluation.checks.registry import CHECKS
from tfdefense.evaluation.checks.sizes import BALL_PROBES, PGD_PROBES, PROBES
from tfdefense.evaluation.detection import Detection
from tfdefense.evaluation.report.page import Picture, Section, Term
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.result import ResultRow, format_accuracy
from tfdefense.evaluation.threat_models import WHITE_BOX_EOT, WHITE_BOX_RESUBMITTED
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.tables import format_percent, format_share

_COLUMN_MEANINGS = {
    "grey_box": "the attack knows only the classifier. Its images then pass through the defence.",
    "white_box": "the attack knows the defence and the classifier.",
    WHITE_BOX_EOT: "the attack does not know the random numbers. It follows the mean gradient over"
    " draws, and one other draw decides.",
    WHITE_BOX_RESUBMITTED: "the same images, judged by several draws. An image counts as correct only"
    " if it is under all of them.",
    "transfer": "the attack knows only another classifier.",
    "black_box": "the attack knows no weights. It queries the pipeline: its logits, or only classes.",
}


def accuracy_section(report: Report) -> Section:
    """Return the table of accuracies and the meaning of its columns."""
    terms = [Term("Undefended", "the attack on the classifier alone.")]
    for name in report.threat_models():
        title = report.threat_model_title(name)
        terms.append(Term(title[0].upper() + title[1:], _COLUMN_MEANINGS[name]))
    with_radius = " that has a radius" if report.leaves_attacks_out else ""
    terms.append(
        Term(
            "worst_case",
            "the share of images that are correct without an attack and under every attack of the"
            f" column{with_radius}.",
        )
    )
    if report.is_randomized:
        row = report.white_box_worst_case(report.defense)
        terms.append(
            Term("worst_case of all white boxes", f"{format_accuracy(row)}, image by image.")
        )
    return Section(
        paragraphs=(
            "Each cell is the accuracy on test images, its 95 % Wilson interval in percent, and the"
            " number of images n.",
        ),
        table=report.table(),
        terms=tuple(terms),
    )


def note_section(report: Report) -> Section:
    """Return what a reader needs to interpret the rows."""
    return Section("Notes", terms=tuple(Term("", note) for note in report.notes))


def gallery_section() -> Section:
    """Return the picture with images before and after attacks and purification."""
    text = (
        "Each column is one test image. The text above an image is its predicted class; ✗ marks a wrong"
        " one. For each attack the rows are the attacked image, the same image after purification, and"
        " the purified minus the clean image, where grey means no difference."
    )
    return Section("Images", (text,), Picture("Clean, attacked and purified images", "gallery.png"))


def epsilon_section(report: Report) -> Section:
    """Return the accuracy over the radius of the attack."""
    curve = report.curve
    names = [name for name in ("undefended", "grey_box", "white_box") if name in curve]
    titles = [name if name == "undefended" else report.threat_model_title(name) for name in names]
    table = [["epsilon", *titles]]
    for number, epsilon in enumerate(curve["epsilon"]):
        table.append(
            [f"{epsilon:.3g}", *(format_percent(curve[name][number], 0) for name in names)]
        )
    text = (
        f"Accuracy under PGD with different radii, n = {curve['n']:,}. The white-box attack takes"
        f" {curve['steps']} steps."
    )
    picture = Picture("Accuracy over epsilon", "epsilon.png")
    return Section("Accuracy over epsilon", (text,), picture, table)


def perturbation_section(report: Report) -> Section:
    """Return the size of perturbations before and after purification."""
    table = [["attack", "threat model", "success", "L1, L2, L∞ before", "L1, L2, L∞ after"]]
    for row in report.rows:
        if row.defense != report.pipeline_names[-1] or row.l1 is None:
            continue
        success = "-"
        if row.attack != "none" and row.success is not None:
            success = format_percent(row.success)
        before = f"{row.l1:.3g}, {row.l2:.3g}, {row.linf:.3g}"
        after = f"{row.left_l1:.3g}, {row.left_l2:.3g}, {row.left_linf:.3g}"
        table.append([*_row_titles(report, row), success, before, after])
    text = (
        "Mean norms of the difference to the clean image, before and after purification. Success is the"
        " share that is wrong after the attack, of the images that are correct before it."
    )
    picture = Picture("Norms of perturbations before and after purification", "perturbations.png")
    return Section("Perturbations before and after purification", (text,), picture, table)


def recovery_section(report: Report) -> Section:
    """Return the share of fooling images that purification recovers."""
    table = [["attack", "correct after purification, grey box", "accuracy, white box"]]
    for each in report.recoveries:
        share = "- n=0"
        if each.n:
            share = format_share(each.restored, each.ci_low, each.ci_high, each.n)
        table.append(
            [each.attack, share, f"{format_percent(each.white_box)} n={each.white_box_n:,}"]
        )
    text = (
        "The grey-box column counts only images that fooled the undefended classifier. The white-box"
        " column is the accuracy under the same attack on the defended pipeline, over all images."
    )
    return Section("Recovery of images that fooled the classifier", (text,), table=table)


def detector_section(report: Report) -> Section:
    """Return what the detector of the defence refuses."""
    table = [["attack", "threat model", "refused", "area under ROC"]]
    for each in report.detections:
        share = format_share(each.refused, each.ci_low, each.ci_high, each.n)
        area = "-" if each.auc is None else f"{each.auc:.3f}"
        table.append([*_row_titles(report, each), share, area])
    text = (
        "The share of images that the detector refuses. The area under the ROC curve is the probability"
        " that an attacked image has a higher score than a clean one."
    )
    picture = Picture("ROC curves of the detector", "roc.png")
    return Section("Detector", (text,), picture, table)


def training_section(report: Report) -> Section:
    """Return the curves of the training."""
    row = report.white_box_worst_case(report.defense)
    with_radius = " with a radius" if report.leaves_attacks_out else ""
    text = (
        "Losses and validation accuracies during training. The accuracies are grey-box numbers. With the"
        f" trained defence, {format_percent(row.accuracy)} of {row.n:,} test images stay correct under the"
        f" white-box attacks{with_radius}."
    )
    return Section("Training", (text,), Picture("Losses and validation accuracies", "training.png"))


def check_section(report: Report) -> Section:
    """Return the results of the checks, and the question, rule and source of each."""
    table = [["check", "result", "finding"]]
    table += [[check.name, _mark(check), check.verdict] for check in report.checks]
    shown = {check.name for check in report.checks}
    terms = tuple(
        Term(check.name, f"{check.question} It passes if {check.rule} ({check.source}).")
        for check in CHECKS
        if check.name in shown
    )
    text = "These checks look for signs that the attacks of this report are too weak."
    return Section("Checks", (text, *_effort_sentences(report)), table=table, terms=terms)


def _mark(check: CheckResult) -> str:
    if not check.ran:
        return "-"
    return "✓" if check.passed else "✗"


def origin_section(report: Report) -> Section:
    """Return the attacks with all hyperparameters, and the versions."""
    stops = (
        "On the pipeline with the defence, attacks that have stop_at_success finish an image at its first"
        " success, whatever its value."
    )
    if report.is_randomized:
        stops += " In expectation over draws (EOT) they go on"
        is_given = any("AutoAttack" in attack for attack in report.attacks)
        stops += ", and AutoAttack is its version rand." if is_given else "."
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    return Section(
        "How this report was made",
        terms=(
            *(Term("", attack.strip("`"), is_code=True) for attack in report.attacks),
            Term("White box", stops),
            Term("Versions", versions),
        ),
    )


def _effort_sentences(report: Report) -> tuple[str, ...]:
    """Return how large the checks were, and which were left out; none for an old report."""
    effort = report.check_effort
    if not effort:
        return ()
    left_out = [check.name for check in CHECKS if check.key not in effort["checks"]]
    probes = effort.get("probes", PROBES)  # A report of an earlier version does not name them.
    sentences = [
        f"They{_probe_sizes(effort, probes)} took {effort['seconds']:.0f} of"
        f" {effort['report_seconds']:.0f} seconds."
    ]
    if "epsilon" in effort and BALL_PROBES.intersection(probes):
        sentences.append(f"Their own attacks are in L-infinity, epsilon {effort['epsilon']:.3g}.")
    if effort["adapted"]:
        sentences.append(
            "These sizes, and the radii of the accuracy over epsilon, follow from the speed of this"
            " machine: the checks may take a third of the time of the report. --check_images=N fixes"
            " them."
        )
    if left_out:
        sentences.append(f"Left out by --checks: {', '.join(left_out)}.")
    return (" ".join(sentences),)


def _probe_sizes(effort: dict[str, Any], probes: Collection[str]) -> str:
    """Return the sizes of the probes that ran, as part of a sentence; "" if none ran."""
    if not probes:
        return ""
    sizes = {
        f"{effort['steps']:,} steps of PGD": PGD_PROBES.intersection(probes),
        f"up to {effort['draws']:,} random perturbations": "noise" in probes,
        f"up to {effort['queries']:,} queries of Square": "square" in probes,
    }
    *others, last = [text for text, ran in sizes.items() if ran] or [""]
    named = f"{', '.join(others)} and {last}" if others else last
    return f" looked at {effort['images']:,} images{named and f', with {named},'} and"


def _row_titles(report: Report, line: ResultRow | Detection) -> list[str]:
    """Return the first two cells of a line: attack and threat model."""
    if line.attack == "none":
        return ["none (clean)", "-"]
    return [line.attack, report.threat_model_title(line.threat_model)]


def failed_check_terms(report: Report, label: str = "") -> tuple[Term, ...]:
    """Return a warning per failed check; `label` comes before its name."""
    return tuple(_warning(check, label) for check in report.failed_checks)


def _warning(check: CheckResult, label: str) -> Term:
    return Term(f"{label}Check failed: {check.name}.", check.verdict)
