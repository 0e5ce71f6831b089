"""Attackers of the black-box column."""

import numpy as np

from tfdefense.attacks import PGD, HopSkipJump, Square
from tfdefense.evaluation.black_box import black_box_attacks, starting_point_notes
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import NORMS, PerImageResults, ResultKey


def test_they_are_the_given_ones_or_have_the_budget():
    square, hop = Square(epsilon=0.1, queries=7), HopSkipJump(epsilon=0.2, queries=9)
    usual = Square(epsilon=0.3, queries=100), HopSkipJump(epsilon=0.3, queries=100)
    assert black_box_attacks([PGD()], 0.3, 100) == usual
    assert black_box_attacks([PGD(), square], 0.3, 100) == (square, usual[1])
    assert black_box_attacks([hop, square], 0.3, 100) == (square, hop)


def test_images_without_a_starting_point_are_noted(bit_depth, toy_split):
    """Unchanged and correct; an image that fooled the pipeline before the attack is not one."""
    measurements = Measurements(bit_depth, toy_split)
    sizes = np.zeros((6, len(NORMS)), np.float32)
    sizes[3:] = 0.1
    predicted = toy_split.labels[:6].copy()
    predicted[2] += 1
    results = PerImageResults(predicted=predicted, perturbation=sizes)
    for label, threat_model in (
        ("hop_skip_jump:queries=1000", "black_box"),
        ("hop_skip_jump:queries=1000", "grey_box"),
        ("square", "black_box"),
    ):
        measurements.per_image[str(ResultKey("bit_depth", label, threat_model))] = results
    (note,) = starting_point_notes(measurements)
    assert note.startswith("hop_skip_jump:queries=1000 (black_box) has no starting point")
    assert "2 of 6 images" in note
