"""Pipelines with a known flaw and one without, and the evidence that checks examine."""

import copy
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import FGSM
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.evaluation.attack_plan import AttackPlan
from tfdefense.evaluation.checks.check import CheckEvidence
from tfdefense.evaluation.checks.diagnostics import Diagnostics, DiagnosticsConfig
from tfdefense.evaluation.evaluator import Evaluator
from tfdefense.evaluation.measurements import Measurements
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
def diagnose(plant, toy_model, toy_split):
    """Return the diagnostics of a planted purifier."""

    def diagnose(function, epsilon=EPSILON):
        return Diagnostics(
            ModelRunner(FrozenClassifier(toy_model, toy_split.image_shape)),
            ModelRunner(plant(function).defend()),
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
def measure(plant, toy_split):
    """Return the measurements of a planted purifier under attacks, without running checks."""

    def measure(function, attacks):
        defense = plant(function)
        plan = AttackPlan(tuple(attacks), len(toy_split)).completed(defense, toy_split)
        evaluator = Evaluator(defense, toy_split, plan)
        evaluator.evaluate_clean()
        for attack in evaluator.attacks:
            evaluator.evaluate_attack(attack)
        return evaluator.measurements

    return measure
