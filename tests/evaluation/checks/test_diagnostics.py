"""Runs of PGD whose missed images the checks count, recorded without an attack."""

import numpy as np
import pytest

from tests.evaluation.checks.conftest import EPSILON, STEPS
from tests.evaluation.checks.planted_flaws import DRAWS
from tfdefense.evaluation.checks.diagnostics import Diagnostics
from tfdefense.evaluation.checks.pgd_trace import CLEAN_START, PGDRun
from tfdefense.evaluation.checks.sizes import RESTARTS, CheckSizes

STEP_SIZE = 4 / 3 / STEPS * EPSILON
WITHSTOOD = np.arange(24) % 2 == 0


class RecordedModels:
    """Models on which PGD fools the first of the images that it is given.

    Attributes:
      runs: settings of the runs of PGD on the pipeline.
      counts: number of images of each run.
    """

    def __init__(self):
        self.pipeline, self.pipeline_pgd = None, self
        self.runs, self.counts = [], []

    def fooled(self, split, run):
        self.runs.append(run)
        self.counts.append(len(split))
        return np.arange(len(split)) == 0


@pytest.fixture
def models():
    return RecordedModels()


@pytest.fixture
def diagnostics(models, toy_split):
    """Diagnostics in a report whose attacks 12 of 24 images withstand."""
    sizes = CheckSizes(images=24, steps=STEPS, draws=DRAWS)
    return Diagnostics(models, toy_split, EPSILON, sizes, WITHSTOOD)


def test_other_step_sizes_are_epsilon_and_a_quarter_of_it_and_of_the_usual_one(diagnostics, models):
    missed = diagnostics.missed_by_step_size
    assert models.runs == [
        PGDRun(EPSILON, EPSILON, 1),
        PGDRun(EPSILON, EPSILON / 4, STEPS, start=1),
        PGDRun(EPSILON, STEP_SIZE / 4, STEPS),
    ]
    assert models.counts == [12, 12, 12]
    assert list(missed.values()) == [1, 1, 1]


def test_every_restart_begins_at_another_point(diagnostics, models):
    missed = diagnostics.missed_by_effort
    many_steps, *restarts = models.runs
    assert many_steps == PGDRun(EPSILON, STEP_SIZE, 30, start=1)
    assert restarts == [PGDRun(EPSILON, STEP_SIZE, STEPS, start=start) for start in range(1, 6)]
    # An image that one restart fools is not attacked again.
    assert models.counts == [12, 12, 11, 10, 9, 8]
    assert missed == (1, RESTARTS)


def test_the_margin_loss_is_increased_from_two_starts(diagnostics, models):
    missed = diagnostics.missed_by_margin_loss
    assert models.runs == [
        PGDRun(EPSILON, STEP_SIZE, STEPS, start=start, margin_loss=True)
        for start in (CLEAN_START, 1)
    ]
    assert missed == 2
