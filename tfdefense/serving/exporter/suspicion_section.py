"""Section of a model card on the output `suspicion`."""

import dataclasses
import math

from tfdefense.defenses.core.suspicion import SuspicionScale
from tfdefense.evaluation.report.page import section_lines
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.report.suspicion_section import suspicion_section as measured_section
from tfdefense.evaluation.suspicion_findings import ALARM
from tfdefense.utils.tables import format_percent


def suspicion_section(scale: SuspicionScale | None, report: Report | None = None) -> list[str]:
    """Return the lines of the section.

    Args:
      scale: scale of the output; None if the model has no such output.
      report: report of the defence, whose figures about suspicion are shown; None for no figures.
    """
    lines = ["## Suspicion", ""]
    if scale is None:
        return [
            *lines,
            "The model has no output `suspicion`: there were no validation images at export, or its purifier changes"
            " nothing and it has no detector.",
            "",
        ]
    values = "the image (`perturbation_norm`) or the class probabilities, whichever share is larger"
    if "score" in scale.values:
        values = (
            "the image (`perturbation_norm`), the class probabilities, or the detector's score,"
            " whichever share is largest"
        )
    return [
        *lines,
        f"`suspicion` is the share of {len(scale):,} {scale.images} that purifying changed less: {values}, ranked again among them. It is a multiple of 1/{len(scale)},"
        " calibrated at export with the defence in float32.",
        "",
        f"- An alarm at {ALARM} or more marks about {format_percent(_alarm_share(len(scale)))} of clean images like"
        " these; of other images, such as those of"
        " another camera, it may mark more.",
        "- It is not the probability of an attack, and a low value is no proof of a clean image: an attacker who knows"
        " the model can keep both changes small.",
        "",
        *_measured_lines(report),
    ]


def _alarm_share(count: int) -> float:
    """Return the expected share of new clean images with a suspicion of 0.99 or more.

    With `count` validation images, the rank of a new image of the same kind is one of `count` + 1 equally
    probable ones.
    """
    return (count - math.ceil(ALARM * count) + 1) / (count + 1)


def _measured_lines(report: Report | None) -> list[str]:
    """Return the table of the report, and what an adaptive attacker leaves."""
    if report is None or not report.suspicion:
        return ["It was not measured against attackers.", ""]
    section = measured_section(report)
    return section_lines(dataclasses.replace(section, title=""))
