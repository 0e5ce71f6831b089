import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import identity
from tfdefense.evaluation.checks.fitted_sizes import ProbePlan, fit_sizes, measure_seconds
from tfdefense.evaluation.checks.sizes import PROBES, CheckSizes

LARGEST = CheckSizes(images=24, steps=40, draws=10_000)


@pytest.mark.slow
def test_measured_seconds_are_those_of_warm_functions(attacked_models, toy_split):
    models = attacked_models(identity)
    measure_seconds(models, toy_split)
    # The least of several measurements, because other processes disturb single ones.
    measured = [measure_seconds(models, toy_split) for _ in range(5)]
    prediction, gradient = (
        min(getattr(seconds, name) for seconds in measured) for name in ("prediction", "gradient")
    )
    # A cold function would need seconds. Which of the two is faster is not asserted: over so small a
    # network both are mostly the overhead of a call.
    assert 0 < prediction < 0.1
    assert 0 < gradient < 0.1
    assert min(seconds.graph for seconds in measured) < 1  # It was compiled before.


def test_sizes_depend_on_the_time_of_the_attacks(attacked_models, toy_split):
    models = attacked_models(identity)

    def fit(attack_seconds):
        plan = ProbePlan(list(PROBES), np.ones(24, bool), attack_seconds)
        return fit_sizes(LARGEST, models, toy_split, plan)

    assert fit(1e6) == LARGEST
    assert fit(0.0) == CheckSizes(images=10, steps=20, draws=128)


def test_passes_are_as_slow_as_the_attacks_were(attacked_models, toy_split):
    """The same time allows less work if the attacks needed longer for a gradient than measured."""
    models = attacked_models(identity)

    def fit(gradient_seconds):
        plan = ProbePlan(list(PROBES), np.ones(24, bool), 1e4, gradient_seconds)
        return fit_sizes(LARGEST, models, toy_split, plan)

    assert fit(None) == fit(1e-9) == LARGEST
    assert fit(10.0).draws < LARGEST.draws
