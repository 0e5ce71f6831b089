"""The fingerprint of a model depends on its settings and weights, not on the order of creation."""

import keras
import numpy as np
import pytest

from tfdefense.classifiers import FrozenClassifier
from tfdefense.classifiers.core import fingerprint as module
from tfdefense.classifiers.core.fingerprint import (
    fingerprints_agree,
    is_fingerprint_of,
    model_code_revision,
    model_fingerprint,
)
from tfdefense.defenses.robust_purifier import RobustPurifier

SHAPE = (12, 12, 1)


@pytest.fixture
def fingerprint(toy_model):
    def of(**settings):
        defense = RobustPurifier(FrozenClassifier(toy_model, SHAPE), **settings)
        return model_fingerprint(defense.defend())

    return of


def test_equal_settings_give_equal_fingerprints(fingerprint):
    settings = {"seed": 3, "widths": (4, 8)}
    assert fingerprint(**settings) == fingerprint(**settings)


@pytest.mark.parametrize("other", [{"seed": 4}, {"widths": (4, 6)}, {"thresholds": 0}])
def test_other_settings_give_other_fingerprints(fingerprint, other):
    settings = {"seed": 3, "widths": (4, 8)}
    assert fingerprint(**settings) != fingerprint(**{**settings, **other})


def sequential(**dense):
    layers = [keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Dense(3, **dense)]
    return keras.Sequential([keras.Input(SHAPE), *layers])


def functional(*, swapped=False, name=None, **dense):
    images = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(images)
    first = keras.layers.Dense(4, activation="relu", name=name)(flat)
    second = keras.layers.Dense(4)(flat)
    joined = keras.layers.Subtract()([second, first] if swapped else [first, second])
    return keras.Model(images, keras.layers.Dense(3, **dense)(joined))


class Subclassed(keras.Model):
    """Model whose argument Keras cannot store."""

    def __init__(self, activation=np.tanh, **dense):
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(3, **dense)
        self.activation = lambda logits: keras.ops.tanh(logits)

    def call(self, images):
        return self.activation(self.dense(self.flatten(images)))


class Stored(Subclassed):
    """Model with a configuration."""

    def get_config(self):
        return {"name": self.name}


def of_network(make, **settings):
    model = make(**settings)
    model(np.zeros((1, *SHAPE), np.float32))
    for weight in model.weights:
        weight.assign(np.linspace(0, 1, np.prod(weight.shape)).reshape(weight.shape))
    return model_fingerprint(FrozenClassifier(model, SHAPE))


@pytest.mark.parametrize("make", [sequential, functional, Subclassed, Stored])
def test_equal_networks_have_equal_fingerprints(make):
    first = of_network(make)
    keras.layers.Dense(7, name=None)  # It moves the numbers in the names that Keras makes.
    assert of_network(make) == first
    assert first.startswith("2-")


@pytest.mark.parametrize("make", [sequential, functional, Subclassed])
@pytest.mark.parametrize("other", [{"activation": "tanh"}, {"dtype": "mixed_bfloat16"}])
def test_other_structures_have_other_fingerprints(make, other):
    if make is Subclassed and "activation" in other:
        pytest.skip("the activation is its own")
    assert of_network(make, **other) != of_network(make)


def test_the_graph_of_a_functional_model_counts_and_names_do_not():
    assert of_network(functional, swapped=True) != of_network(functional)
    assert of_network(functional, name="mine") == of_network(functional)


def test_networks_of_other_classes_have_other_fingerprints():
    assert of_network(Subclassed) != of_network(Stored)


def test_stored_fingerprints_of_version_0_2_are_accepted():
    model = FrozenClassifier(sequential(), SHAPE)
    other = FrozenClassifier(sequential(activation="tanh"), SHAPE)
    old, new = module._fingerprint_of_form_1(model), model_fingerprint(model)
    for stored in (old, new, None):
        assert is_fingerprint_of(stored, model)
        assert is_fingerprint_of(stored, other) is (stored is None)
        assert fingerprints_agree(stored, new)
    assert not fingerprints_agree(old, module._fingerprint_of_form_1(other))
    assert not fingerprints_agree(new, model_fingerprint(other))


def test_the_code_of_a_model_covers_its_defence_and_its_layers(toy_model):
    defense = RobustPurifier(toy_model, widths=(4, 8))
    revisions = {
        model_code_revision(defense.classifier),
        model_code_revision(defense.defend()),
        model_code_revision(FrozenClassifier(Subclassed(), SHAPE)),
    }
    assert len(revisions) == 3
