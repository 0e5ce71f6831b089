"""Section of a report page: how well the output `suspicion` tells attacked images from clean ones."""

from tfdefense.evaluation.report.page import Section
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.suspicion_findings import ADAPTIVE, ALARM, ATTACKERS
from tfdefense.utils.tables import format_percent


def suspicion_section(report: Report) -> Section:
    """Return the table of `Report.suspicion`, which must not be empty."""
    text = (
        "An export has the output `suspicion`: the share of"
        f" {report.suspicion[0].calibrated_on:,} validation images that purifying changed less: the"
        " image, the class probabilities or, with a detector, its score, whichever share is largest."
        " The area under the ROC curve is the probability"
        " that an attacked image is more suspicious than a clean one, with its 95 % interval"
        " (Hanley and McNeil 1982). Grey box and white box are the attacks of this report that"
        f" leave the lowest accuracy. An alarm is a suspicion of {ALARM} or more."
    )
    return Section("Suspicion", (text, *suspicion_sentences(report)), table=suspicion_table(report))


def suspicion_table(report: Report) -> list[list[str]]:
    """Return the header and a line for clean images and for each attacker."""
    table = [
        [
            "attacker",
            "attack",
            "area under ROC",
            f"alarms at {ALARM}",
            "accuracy",
            "wrong, no alarm",
        ]
    ]
    for each in report.suspicion:
        area = "-"
        if each.auc is not None:
            area = f"{each.auc:.3f} [{each.auc_low:.3f}, {each.auc_high:.3f}]"
        attack = "-" if each.attack == "none" else each.attack
        alarms, missed = format_percent(each.alarms), format_percent(each.missed)
        shares = [alarms, f"{format_percent(each.accuracy)} n={each.n:,}", missed]
        table.append([ATTACKERS[each.threat_model], attack, area, *shares])
    return table


def suspicion_sentences(report: Report) -> tuple[str, ...]:
    """Return what the alarms are worth if the attacker also keeps suspicion low."""
    for each in report.suspicion:
        if each.threat_model == ADAPTIVE:
            return (
                "The adaptive attacker also keeps suspicion low:"
                f" {format_percent(each.alarms)} of the images are alarms, and"
                f" {format_percent(each.missed)} are misclassified without one. Judge by the larger"
                " of this share and that of white box.",
            )
    return (
        "The attacker who also keeps suspicion low was left out (--checks=all has it), so an alarm"
        " says nothing about such an attacker.",
    )
