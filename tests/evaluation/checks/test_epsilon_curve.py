import time

import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import identity
from tfdefense.attacks import PGD
from tfdefense.evaluation.checks.epsilon_curve import curve_radii, measure_curve, radii_in_time

EPSILON = 0.2


def invert(images):
    """A purifier after which the classifier errs on clean images."""
    return 1 - images


def test_radii_end_with_the_first_that_there_is_no_time_for():
    asked = []

    def has_time(seconds):
        asked.append(seconds)
        return len(asked) < 4

    for radius in radii_in_time(EPSILON, has_time):
        time.sleep(0.05 if radius == 0 else 0.01)
    assert asked[0] == 0.0
    assert asked[1] == asked[2] == asked[3] >= 0.05  # The longest so far.


def test_with_time_there_are_all_radii():
    radii = list(radii_in_time(EPSILON, lambda seconds: True))
    assert radii == curve_radii(EPSILON) == [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 1.0]


@pytest.mark.slow
def test_curve_has_the_accuracies_of_each_radius(attacked_models, toy_model, toy_split):
    models, radius, steps = attacked_models(invert), 0.1, 3

    def fooled(radius):
        return np.arange(len(toy_split)) < len(toy_split) * radius

    curve = measure_curve(models, toy_split, [0.0, radius], steps, fooled)
    attack = PGD(epsilon=radius, steps=steps, relative_step_size=4 / 3 / steps)
    attacked = attack(toy_model, toy_split.images, toy_split.labels)

    def accuracies(function):
        """Return the accuracy of the classifier on clean and on attacked images after a function."""
        logits = [toy_model(function(images)) for images in (toy_split.images, attacked)]
        return [float(np.mean(np.argmax(each, -1) == toy_split.labels)) for each in logits]

    assert curve["epsilon"] == [0.0, radius]
    assert curve["white_box"] == [1.0, 21 / 24]
    assert curve["undefended"] == accuracies(identity)
    assert curve["grey_box"] == accuracies(invert)
    assert curve["undefended"][0] == 1.0 > curve["undefended"][1]
    assert curve["grey_box"][0] < 1.0


def test_curve_without_radii_is_empty(attacked_models, toy_split):
    assert measure_curve(attacked_models(identity), toy_split, [], 3, lambda radius: None) == {}


def test_after_the_deadline_there_is_no_curve(diagnose):
    diagnostics = diagnose(identity)
    diagnostics.deadline = time.monotonic() - 1
    assert diagnostics.epsilon_curve == {}
