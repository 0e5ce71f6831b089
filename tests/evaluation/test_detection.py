import numpy as np
import pytest

from tfdefense.evaluation.detection import measure_detection
from tfdefense.evaluation.per_image_results import PerImageResults


def results(excess, counted=None):
    n = len(excess)
    return PerImageResults(
        np.zeros(n, np.int32), np.zeros((n, 3)), excess=np.array(excess), counted=counted
    )


def test_detection_has_the_refused_share_and_the_area_under_the_roc_curve():
    clean, attacked = measure_detection(
        {
            "none/none/none": PerImageResults(np.zeros(4, np.int32), np.zeros((4, 3))),
            "magnet/none/none": results([-2.0, -1.0, -0.5, 0.5]),
            "magnet/fgsm/white_box": results([-0.7, 0.2, 1.0, 2.0]),
        }
    )
    assert (clean.attack, clean.refused, clean.n, clean.auc) == ("none", 0.25, 4, None)
    assert (attacked.attack, attacked.threat_model) == ("fgsm", "white_box")
    assert attacked.refused == 0.75
    assert attacked.auc == pytest.approx(13 / 16)


def test_images_that_a_row_does_not_count_have_no_part():
    counted = np.array([True, False, True, False])
    scores = {
        "magnet/none/none": results([-2.0, -1.0, -0.5, 0.5]),
        "magnet/fgsm/grey_box": results([-0.7, 9.0, 1.0, -9.0], counted),
    }
    attacked = measure_detection(scores)[1]
    alone = measure_detection({**scores, "magnet/fgsm/grey_box": results([-0.7, 1.0])})[1]
    assert attacked == alone
    assert (attacked.n, attacked.refused, attacked.auc) == (2, 0.5, 6 / 8)


def test_an_attack_that_counts_no_image_has_no_detection():
    clean = {"magnet/none/none": results([-2.0, 0.5])}
    nothing = {"magnet/fgsm/grey_box": results([-0.7, 9.0], np.zeros(2, bool))}
    assert measure_detection(clean | nothing) == measure_detection(clean)


def test_defence_without_a_detector_has_no_detections():
    without = PerImageResults(np.zeros(4, np.int32), np.zeros((4, 3)))
    assert measure_detection({"none/none/none": without}) == ()
