"""Images that an attack gave up."""

import numpy as np

from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import NORMS, PerImageResults, ResultKey
from tfdefense.evaluation.unchanged_images import unchanged_image_notes


def test_images_that_attacks_gave_up_are_noted(bit_depth, toy_split):
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
        ("art:DeepFool", "white_box"),
    ):
        measurements.per_image[str(ResultKey("bit_depth", label, threat_model))] = results
    undefended = ResultKey("none", "hop_skip_jump", "black_box")
    measurements.per_image[str(undefended)] = results
    starting_point, library, alone = unchanged_image_notes(measurements)
    assert starting_point.startswith(
        "hop_skip_jump:queries=1000 (black_box) returned 2 of 6 images"
    )
    assert "no starting point" in starting_point
    assert library.startswith(
        "art:DeepFool (white_box) returned 2 of 6 images of bit_depth unchanged"
    )
    assert "art failed on them or found nothing. They count as correct." in library
    assert "returned 2 of 6 images of the undefended classifier unchanged" in alone
