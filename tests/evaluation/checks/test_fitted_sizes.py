import numpy as np

from tests.evaluation.checks.planted_flaws import identity
from tfdefense.evaluation.checks.fitted_sizes import ProbePlan, fit_sizes, measure_seconds
from tfdefense.evaluation.checks.sizes import PROBES, CheckSizes

LARGEST = CheckSizes(images=24, steps=40, draws=10_000)


def test_measured_seconds_are_those_of_warm_functions(attacked_models, toy_split):
    models = attacked_models(identity)
    measure_seconds(models, toy_split)
    seconds = measure_seconds(models, toy_split)
    assert 0 < seconds.prediction < seconds.gradient < 0.1
    assert seconds.graph < 1  # It was compiled before.


def test_sizes_depend_on_the_time_of_the_attacks(attacked_models, toy_split):
    models = attacked_models(identity)

    def fit(attack_seconds):
        plan = ProbePlan(list(PROBES), np.ones(24, bool), attack_seconds)
        return fit_sizes(LARGEST, models, toy_split, plan)

    assert fit(1e6) == LARGEST
    assert fit(0.0) == CheckSizes(images=10, steps=20, draws=128, curve=False)
