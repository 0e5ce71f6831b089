"""Pipelines with a known flaw and one without, and the evidence that checks examine."""

import copy
import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import FGSM, enable_stop_at_success
from tfdefense.attacks.core.spec import format_attack
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.checks.diagnostics import Diagnostics, DiagnosticsConfig
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import ResultKey
from tfdefense.evaluation.runner import ModelRunner

EPSILON = 0.25
STEPS = 12
DRAWS = 200


@dataclasses.dataclass(frozen=True)
class NoHyperparameters:
    pass


class PlantedDefense(Defense):
    """A defence whose purifier is a given function."""

    name, config_type = "planted", NoHyperparameters
    budget = EvaluationBudget(random_perturbations=DRAWS)

    def __init__(self, classifier, function):
        super().__init__(classifier)
        self.purify = function

    def purify(self, images):
        raise NotImplementedError


def identity(images):
    """A purifier without a flaw."""
    return tf.identity(images)


def round_without_gradient(images):
    """A purifier that masks gradients: they exist, but they are zero."""
    return tf.round(3 * images) / 3 + 0 * images


@tf.custom_gradient
def reverse_gradient(images):
    """A purifier whose gradient has the wrong sign."""
    return tf.identity(images), lambda upstream: -upstream


def subtract_batch_mean(images):
    """A purifier that depends on the other images of the batch."""
    return images - tf.reduce_mean(images, axis=0, keepdims=True)


@pytest.fixture(scope="session")
def plant(toy_model):
    return lambda function: PlantedDefense(toy_model, function)


@pytest.fixture(scope="session")
def run_planted(plant):
    """Return the runner of a planted pipeline; one for each purifier, so that attacks compile once."""
    return functools.cache(lambda function: ModelRunner(plant(function).defend()))


@pytest.fixture(scope="session")
def diagnose(run_planted, toy_model, toy_split):
    """Return the diagnostics of a planted purifier."""

    def diagnose(function, epsilon=EPSILON):
        return Diagnostics(
            ModelRunner(FrozenClassifier(toy_model, toy_split.image_shape)),
            run_planted(function),
            toy_split,
            DiagnosticsConfig(epsilon, DRAWS, STEPS),
        )

    return diagnose


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
def weakly_attacked_diagnostics(clean_diagnostics, toy_model, toy_split):
    """Diagnostics of the pipeline without a flaw, in a report whose only attack is far too weak."""
    images = FGSM(epsilon=0.01)(toy_model, toy_split.images, toy_split.labels)
    diagnostics = copy.copy(clean_diagnostics)
    diagnostics.withstood = np.argmax(toy_model(images), axis=-1) == toy_split.labels
    assert diagnostics.withstood.all()
    return diagnostics


@pytest.fixture(scope="session")
def evidence_of(plant, toy_split):
    """Return evidence that consists of diagnostics."""

    def evidence_of(diagnostics):
        return CheckEvidence(Measurements(plant(identity), toy_split), diagnostics, ("planted",))

    return evidence_of


@pytest.fixture(scope="session")
def measure(run_planted, plant, toy_split):
    """Return the measurements of a planted purifier under white-box attacks."""

    def measure(function, attacks):
        runner, measurements = run_planted(function), Measurements(plant(function), toy_split)
        clean = ResultKey("planted", "none", "none")
        measurements.add(clean, 0.0, runner.measure(toy_split, toy_split))
        for attack in attacks:
            key = ResultKey("planted", format_attack(attack), "white_box")
            attacked = runner.attack(enable_stop_at_success(attack), toy_split)
            measurements.add(key, attack.epsilon, runner.measure(attacked, toy_split))
        return measurements

    return measure
