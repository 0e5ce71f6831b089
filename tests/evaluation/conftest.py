"""Reports and classifiers that many tests of the evaluation share."""

import keras
import pytest

import tfdefense
from tests.conftest import SHAPE, fit_batch
from tests.once import compute_once
from tests.reports import evaluate_without_checks
from tfdefense.attacks import BIM, FGSM
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.evaluation import ThreatModels, evaluate


@pytest.fixture(scope="session")
def defense(toy_model):
    defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
    defense.budget = EvaluationBudget(check_steps=10, random_perturbations=500, fixed_checks=True)
    return defense


@pytest.fixture(scope="session")
def report(defense, toy_split, tmp_path_factory):
    attacks = [FGSM(epsilon=0.3), BIM(epsilon=0.3)]
    return compute_once(
        tmp_path_factory, "report", lambda: evaluate(defense, toy_split, attacks, 9)
    )


@pytest.fixture(scope="session")
def other_model(toy_split):
    """Another classifier of `toy_split`."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)], name="other"
    )
    model.compile(
        keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    fit_batch(model, toy_split.images, toy_split.labels, steps=60)
    return FrozenClassifier(model, SHAPE)


@pytest.fixture(scope="session")
def bit_depth(toy_model):
    return tfdefense.defenses.BitDepth(toy_model, bits=2)


@pytest.fixture(scope="session")
def full_report(bit_depth, toy_split, other_model):
    """A report with every threat model that counts only images that fooled the classifier."""
    names = ("grey_box", "white_box", "transfer", "black_box")
    threat_models = ThreatModels(names, other_model, fooled_only=True)
    return evaluate_without_checks(bit_depth, toy_split, [FGSM(epsilon=0.2)], 12, threat_models)
