"""The fingerprint of a model depends on its settings and weights, not on the order of creation."""

import pytest

from tfdefense.classifiers import FrozenClassifier
from tfdefense.classifiers.core.fingerprint import model_fingerprint
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
