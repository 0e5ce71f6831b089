import dataclasses

import pytest

from tfdefense.evaluation.checks.sizes import PROBES
from tfdefense.evaluation.report.sections import check_section

EFFORT = {
    **{"checks": [], "images": 24, "steps": 40, "draws": 500, "queries": 300, "epsilon": 0.3},
    **{"adapted": False, "seconds": 4.0, "report_seconds": 9.0},
}


@pytest.mark.parametrize(
    ("probes", "sentence"),
    [
        ([], "They took 4 of 9 seconds."),
        (["repeats", "single_images"], "They looked at 24 images and took 4 of 9 seconds."),
        (["unbounded"], "They looked at 24 images, with 40 steps of PGD, and took 4"),
        (
            ["noise", "square"],
            "24 images, with up to 500 random perturbations and up to 300 queries of Square, and took",
        ),
        (
            list(PROBES),
            "They looked at 24 images, with 40 steps of PGD, up to 500 random perturbations and up to"
            " 300 queries of Square, and took 4 of 9 seconds.",
        ),
    ],
)
def test_only_probes_that_ran_are_named(report, probes, sentence):
    effort = {**EFFORT, "probes": probes}
    section = check_section(dataclasses.replace(report, check_effort=effort))
    assert sentence in section.paragraphs[1]
    within_epsilon = set(probes) & {"noise", "square", "trace"}
    assert ("epsilon 0.3" in section.paragraphs[1]) == bool(within_epsilon)


def test_report_of_an_earlier_version_names_all_probes(report):
    section = check_section(dataclasses.replace(report, check_effort=EFFORT))
    assert "40 steps of PGD, up to 500 random perturbations and up to 300" in section.paragraphs[1]
    assert "epsilon 0.3" in section.paragraphs[1]
