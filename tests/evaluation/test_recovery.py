import numpy as np
import pytest

from tfdefense.evaluation import Report
from tfdefense.evaluation.per_image_results import PerImageResults
from tfdefense.evaluation.recovery import find_fooling_images, measure_recovery
from tfdefense.evaluation.report.render import to_markdown

LABELS = np.zeros(5, np.int32)


@pytest.fixture
def per_image():
    """Results on five images of class 0; the classifier alone errs on the second when it is clean."""
    predicted = {
        "none/none/none": [0, 1, 0, 0, 0],
        "none/fgsm/white_box": [1, 1, 0, 2, 1],
        "bit_depth/none/none": [0, 0, 0, 0, 0],
        "bit_depth/fgsm/grey_box": [0, 0, 1, 0, 1],
        "bit_depth/fgsm/white_box": [0, 1, 2, 1],
    }
    return {
        key: PerImageResults(np.array(classes, np.int32), np.zeros((len(classes), 3), np.float32))
        for key, classes in predicted.items()
    }


def test_only_an_image_that_was_correct_before_the_attack_fools(per_image):
    fooling = find_fooling_images(per_image, LABELS, "fgsm", "white_box")
    assert fooling.tolist() == [True, False, False, True, True]


def test_recovery_counts_only_images_that_fooled_the_classifier(per_image):
    (found,) = measure_recovery(per_image, LABELS, "bit_depth")
    assert (found.attack, found.restored, found.n) == ("fgsm", 2 / 3, 3)
    assert found.ci_low < 2 / 3 < found.ci_high
    assert (found.white_box, found.white_box_n) == (0.25, 4)


def test_without_a_fooling_image_the_recovery_is_unknown(per_image):
    per_image["none/fgsm/white_box"] = per_image["none/none/none"]
    (found,) = measure_recovery(per_image, LABELS, "bit_depth")
    assert (found.restored, found.n, found.ci_low, found.ci_high) == (0.0, 0, 0.0, 1.0)


def test_a_report_has_the_recovery_under_each_grey_box_attack(report):
    assert [each.attack for each in report.recoveries] == ["fgsm", "fgsm_predicted", "bim"]
    for each in report.recoveries:
        fooled = report.per_image[f"none/{each.attack}/white_box"].predicted != report.labels
        grey_box = report.per_image[f"apeganpp/{each.attack}/grey_box"]
        correct = grey_box.predicted == report.labels
        assert each.n == fooled.sum() > 0
        assert each.restored == correct[fooled].mean() > 0
        assert each.white_box == report.row("apeganpp", each.attack, "white_box").accuracy
    assert "Recovery of images that fooled the classifier" in to_markdown(report)
    assert Report.from_json(report.to_json()).recoveries == report.recoveries
