"""Comparisons of the white box with attackers that know less."""

import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import identity
from tfdefense.evaluation.checks.comparisons import (
    AttackerComparison,
    compare_black_box_square,
    compare_square,
    compare_threat_models,
)
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey


@pytest.fixture
def measured(plant, toy_split):
    """Return measurements of attacks: (label, threat model, radius, fooled images, gradients)."""

    def measured(*attacks, norms=()):
        measurements = Measurements(plant(identity), toy_split)
        measurements.norms = dict(norms)
        clean = ("none", "none", None, 0, None)
        for attack, threat_model, epsilon, fooled, gradients in (clean, *attacks):
            wrong = np.arange(24) < fooled
            predicted = np.where(wrong, (toy_split.labels + 1) % 3, toy_split.labels)
            counts = None if gradients is None else np.full(24, gradients, np.int32)
            results = PerImageResults(predicted, np.zeros((24, 3), np.float32), gradients=counts)
            measurements.add(ResultKey("planted", attack, threat_model), epsilon, results)
        return measurements

    return measured


def test_attackers_in_another_ball_are_not_compared(measured):
    measurements = measured(
        ("pgd:norm=l2", "white_box", 0.3, 2, 40),
        ("square", "black_box", 0.3, 20, 0),
        ("square", "white_box", 0.2, 20, 0),
        ("pgd:norm=l2", "grey_box", 0.3, 1, 40),
    )
    assert compare_square(measurements, "planted") == []
    assert compare_black_box_square(measurements, "planted") == []
    (grey_box,) = compare_threat_models(measurements, "planted")
    assert (grey_box.weaker, grey_box.missed, grey_box.n) == ("grey box", 0, 24)


def test_every_attacker_that_knows_less_is_compared(measured):
    measurements = measured(
        ("pgd", "white_box", 0.3, 2, 40),
        ("pgd", "grey_box", 0.3, 3, 40),
        ("pgd", "transfer", 0.3, 5, 40),
        ("square", "black_box", 0.3, 9, 0),
    )
    assert compare_threat_models(measurements, "planted") == [
        AttackerComparison("grey box", 1, 24),
        AttackerComparison("transfer", 3, 24),
        AttackerComparison("black box", 7, 24),
    ]


def test_norms_are_those_of_the_attacks_not_of_their_names(measured):
    rows = ("foolbox:L2PGD", "white_box", 0.3, 2, 40), ("square", "white_box", 0.3, 20, 0)
    assert compare_square(measured(*rows, norms=[("foolbox:L2PGD", "l2")]), "planted") == []
    (comparison,) = compare_square(measured(*rows), "planted")
    assert comparison.missed == 18


def test_square_is_compared_with_attacks_that_use_gradients(measured):
    measurements = measured(
        ("pgd", "white_box", 0.3, 2, 40),
        ("hop_skip_jump", "white_box", 0.3, 20, 0),
        ("square", "white_box", 0.3, 12, 0),
    )
    (comparison,) = compare_square(measurements, "planted")
    assert comparison.missed == 10


def test_autoattack_is_a_gradient_attack(measured):
    measurements = measured(
        ("auto_attack", "white_box", 0.3, 12, 900), ("square", "black_box", 0.3, 12, 0)
    )
    (comparison,) = compare_black_box_square(measurements, "planted")
    assert (comparison.weaker, comparison.missed) == ("square, black box", 0)
