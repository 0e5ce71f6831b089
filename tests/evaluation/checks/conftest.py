"""Pipelines with a known flaw and one without, and the evidence that checks examine."""

import functools

import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import (
    DRAWS,
    PlantedDefense,
    identity,
    reverse_gradient,
    round_without_gradient,
)
from tfdefense.attacks import FGSM, enable_stop_at_success
from tfdefense.attacks.core.spec import format_attack
from tfdefense.classifiers import FrozenClassifier
from tfdefense.evaluation.checks.attacked_models import AttackedModels
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.checks.diagnostics import Diagnostics
from tfdefense.evaluation.checks.pgd_trace import PGDRun
from tfdefense.evaluation.checks.sizes import CheckSizes
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import ResultKey
from tfdefense.evaluation.runner import ModelRunner

EPSILON = 0.25
STEPS = 12


@pytest.fixture(scope="session")
def plant(toy_model):
    return lambda function: PlantedDefense(toy_model, function)


@pytest.fixture(scope="session")
def run_planted(plant):
    """Return the runner of a planted pipeline; one for each purifier, so that attacks compile once."""
    return functools.cache(lambda function: ModelRunner(plant(function).defend()))


@pytest.fixture(scope="session")
def attacked_models(run_planted, toy_model, toy_split):
    """Return the classifier and a planted pipeline, compiled once for each purifier."""
    classifier = ModelRunner(FrozenClassifier(toy_model, toy_split.image_shape))
    return functools.cache(lambda function: AttackedModels(classifier, run_planted(function)))


@pytest.fixture(scope="session")
def diagnose(attacked_models, toy_split):
    """Return the diagnostics of a planted purifier; the attack of the report is PGD by default."""

    def diagnose(function, epsilon=EPSILON, withstood=None, steps=STEPS):
        models, sizes = attacked_models(function), CheckSizes(images=24, steps=steps, draws=DRAWS)
        if withstood is None:
            run = PGDRun(epsilon, 4 / 3 / steps * epsilon, steps)
            withstood = ~models.pipeline_pgd.run(toy_split, run).fooled.any(axis=0)
        return Diagnostics(models, toy_split, epsilon, sizes, withstood)

    return diagnose


@pytest.fixture
def unbounded_diagnostics(attacked_models, toy_split):
    """Diagnostics of a pipeline that masks gradients, in a report without an L-infinity radius."""
    sizes = CheckSizes(images=24, steps=STEPS, draws=DRAWS)
    return Diagnostics(attacked_models(round_without_gradient), toy_split, EPSILON, sizes)


@pytest.fixture(scope="session")
def clean_diagnostics(diagnose):
    """Diagnostics of a pipeline without a flaw."""
    return diagnose(identity)


@pytest.fixture(scope="session")
def masked_diagnostics(diagnose):
    """Diagnostics of a pipeline that masks gradients."""
    return diagnose(round_without_gradient)


@pytest.fixture(scope="session")
def reversed_diagnostics(diagnose):
    """Diagnostics of a pipeline whose gradient has the wrong sign."""
    return diagnose(reverse_gradient)


@pytest.fixture(scope="session")
def weakly_attacked_diagnostics(diagnose, toy_model, toy_split):
    """Diagnostics of the pipeline without a flaw, in a report whose only attack is far too weak."""
    images = FGSM(epsilon=0.01)(toy_model, toy_split.images, toy_split.labels)
    withstood = np.argmax(toy_model(images), axis=-1) == toy_split.labels
    assert withstood.all()
    return diagnose(identity, withstood=withstood)


@pytest.fixture(scope="session")
def evidence_of(plant, toy_split):
    """Return evidence that consists of diagnostics."""

    def evidence_of(diagnostics):
        return CheckEvidence(Measurements(plant(identity), toy_split), diagnostics, ("planted",))

    return evidence_of


@pytest.fixture(scope="session")
def measure(run_planted, plant, toy_split):
    """Return the measurements of a planted purifier under white-box attacks."""

    def measure(function, attacks, *, stop_at_success=True):
        runner, measurements = run_planted(function), Measurements(plant(function), toy_split)
        clean = ResultKey("planted", "none", "none")
        measurements.add(clean, 0.0, runner.measure(toy_split, toy_split))
        for attack in attacks:
            key = ResultKey("planted", format_attack(attack), "white_box")
            strong = enable_stop_at_success(attack) if stop_at_success else attack
            attacked = runner.attack(strong, toy_split)
            measurements.add(key, attack.epsilon, runner.measure(attacked, toy_split))
        return measurements

    return measure
