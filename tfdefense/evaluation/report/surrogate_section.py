"""Section of a report page: what white-box attacks found through each surrogate gradient."""

from tfdefense.evaluation.report.page import Section
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.surrogate_findings import ANOTHER_DRAW, SurrogateFinding
from tfdefense.utils.tables import format_percent


def surrogate_section(report: Report) -> Section:
    """Return the table of `Report.surrogates`, which must not be empty."""
    names = [name for name in report.surrogates[0].fooled if name != ANOTHER_DRAW]
    text = (
        "A step of the defence declares several gradients, and white-box attacks try them in the"
        f" order {', '.join(names)}. An attack within a radius tries the next"
        " one only on images that withstand those before it. The last column is the number of"
        " images that each gradient fools first or, for an attack without a radius, with the"
        " smallest perturbation."
    )
    if any(ANOTHER_DRAW in each.fooled for each in report.surrogates):
        text += (
            f" {ANOTHER_DRAW[0].upper()}{ANOTHER_DRAW[1:]}: the images withstand the draws of the"
            " attacker, and are wrong only in the deciding draw."
        )
    paragraphs = (text, *surrogate_warnings(report))
    return Section("Surrogate gradients", paragraphs, table=surrogate_table(report))


def surrogate_table(report: Report) -> list[list[str]]:
    """Return the header and a line per attack: accuracies with one and with all surrogates."""
    first = next(iter(report.surrogates[0].fooled))
    table = [["attack", "threat model", f"accuracy, {first} alone", "all", "fooled by"]]
    for each in report.surrogates:
        alone = "-" if each.first_accuracy is None else format_percent(each.first_accuracy)
        fooled = ", ".join(f"{name} {count:,}" for name, count in each.fooled.items() if count)
        title = report.threat_model_title(each.threat_model)
        table.append(
            [
                each.attack,
                title,
                alone,
                f"{format_percent(each.accuracy)} n={each.n:,}",
                fooled or "-",
            ]
        )
    return table


def surrogate_warnings(report: Report) -> tuple[str, ...]:
    """Return a sentence for each worst case that needed more than the first surrogate."""
    return tuple(
        _warning(each)
        for each in report.surrogates
        if each.attack == "worst_case" and (each.first_accuracy or 0.0) > each.accuracy
    )


def _warning(finding: SurrogateFinding) -> str:
    assert finding.first_accuracy is not None
    return (
        f"With the gradient {next(iter(finding.fooled))} alone, {format_percent(finding.first_accuracy)}"
        f" of the {finding.n:,} images would withstand the attacks, not {format_percent(finding.accuracy)}."
    )
