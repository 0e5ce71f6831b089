"""Planted flaws and the checks that find them: the table of docs/explanation/planted-flaws.md.

`pytest -s tests/evaluation/checks/test_planted_flaws.py` prints all checks that fail for each flaw.
"""

import dataclasses
from collections.abc import Callable

import pytest

from tests.docs.markdown import ROOT
from tests.evaluation.checks import planted_flaws as planted
from tfdefense.attacks import BIM, FGSM, PGD, Attack
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.checks.registry import CHECKS, run_checks

PAGE = ROOT / "docs/explanation/planted-flaws.md"


@dataclasses.dataclass(frozen=True)
class Flaw:
    """A flaw of a pipeline, or of the attacks of its report.

    Attributes:
      title: the flaw in words.
      purifier: function from images to images.
      attack: the only attack of the report.
      found_by: keys of the checks that must fail, in the order of a report.
    """

    title: str
    purifier: Callable
    attack: Attack
    found_by: tuple[str, ...]


FLAWS = (
    Flaw("none", planted.identity, PGD(epsilon=0.25), ()),
    Flaw(
        "The gradient is zero everywhere.",
        planted.round_without_gradient,
        PGD(epsilon=0.25),
        ("white_box_strongest", "square_finds_nothing", "gradients_exist", "loss_rises"),
    ),
    Flaw(
        "The gradient has the wrong sign.",
        planted.reverse_gradient,
        PGD(epsilon=0.25),
        ("white_box_strongest", "square_finds_nothing", "loss_rises", "falls_to_chance"),
    ),
    Flaw(
        "At each point, one pixel in five has a gradient.",
        planted.thin_out_gradient,
        PGD(epsilon=0.25),
        ("white_box_strongest", "square_finds_nothing", "optimization_finished"),
    ),
    Flaw(
        "A wave in the loss is shorter than a step.",
        planted.shatter,
        PGD(epsilon=0.25),
        ("square_finds_nothing", "loss_stability"),
    ),
    Flaw(
        "The gradient of cross-entropy is zero, because the pipeline is too confident.",
        planted.confident,
        PGD(epsilon=0.25),
        ("square_finds_nothing", "gradients_exist", "margin_losses"),
    ),
    Flaw(
        "The purifier rounds to two levels, and declares the identity as its gradient.",
        planted.declare_identity,
        PGD(epsilon=0.15),
        ("surrogate_transfer",),
    ),
    Flaw(
        "The purifier has a loop, and declares the identity as its gradient.",
        planted.smooth_in_a_loop,
        PGD(epsilon=0.25),
        ("test_time_procedures",),
    ),
    Flaw(
        "The purifier draws new random numbers at every call.",
        planted.draw_noise,
        PGD(epsilon=0.25),
        ("repeatability", "test_time_procedures"),
    ),
    Flaw(
        "The logits depend on the other images of the batch.",
        planted.subtract_batch_mean,
        PGD(epsilon=0.25),
        ("batch_independence",),
    ),
    Flaw(
        "The purifier enlarges differences that no image file has.",
        planted.amplify_small_differences,
        PGD(epsilon=0.08),
        ("loss_stability", "rounding"),
    ),
    Flaw(
        "The attack does not stop at success and returns its last image.",
        planted.amplify_small_differences,
        BIM(epsilon=0.08, steps=40, relative_step_size=1 / 30),
        ("silent_success",),
    ),
    Flaw(
        "The only attack is one step with a small radius.",
        planted.identity,
        FGSM(epsilon=0.01),
        ("square_finds_nothing", "step_size", "attacks_converged", "margin_losses"),
    ),
)
# Flaws that the tests of these checks plant on their own.
FOUND_ELSEWHERE = {"label_leaking", "random_noise"}


def names_of(keys):
    return [check.name for check in CHECKS if check.key in keys]


def test_every_check_finds_a_planted_flaw():
    found = {key for flaw in FLAWS for key in flaw.found_by}
    assert found | FOUND_ELSEWHERE == {check.key for check in CHECKS}


def test_the_page_has_the_table():
    page = PAGE.read_text().splitlines()
    for flaw in FLAWS:
        found_by = "; ".join(names_of(flaw.found_by)) or "none fails"
        assert f"| {flaw.title} | {found_by} |" in page


@pytest.mark.slow
@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.title)
def test_checks_find_the_flaw(flaw, diagnose, measure):
    returns_last = isinstance(flaw.attack, BIM)
    measurements = measure(flaw.purifier, [flaw.attack], stop_at_success=not returns_last)
    epsilon = 0.25 if isinstance(flaw.attack, FGSM) else flaw.attack.epsilon
    withstood = measurements.withstood("planted", "white_box")
    diagnostics = diagnose(flaw.purifier, epsilon, withstood, steps=40)
    results = run_checks(CHECKS, CheckEvidence(measurements, diagnostics, ("planted",)))
    failed = {check.key for check, result in zip(CHECKS, results, strict=True) if not result.passed}
    print(f"\n{flaw.title} {', '.join(names_of(failed)) or 'no check fails'}.")
    assert set(flaw.found_by) <= failed
    assert bool(failed) == bool(flaw.found_by)
