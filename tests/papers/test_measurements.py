"""Counts of a cell, from predictions of the classifier alone."""

import numpy as np
import pytest

from tfdefense.papers.measurements import CorrectCount, PaperCell
from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import ClassifierTarget, ExamplesTarget
from tfdefense.papers.undefended_predictions import CellImages

CLASSIFIER = ClassifierTarget("digits", "lenet", 2)
EXAMPLES = ExamplesTarget(CLASSIFIER, "fgsm:epsilon=0.3", 4)


@pytest.fixture
def undefended_predictions(monkeypatch, digits):
    """Let the classifier err on the second clean image, and on the first three attacked ones."""

    def predict(images, store):
        del store
        wrong = [0, 1, 0, 0] if images.examples is None else [1, 1, 1, 0]
        return (digits.test.labels[:4] + np.array(wrong, np.int32)) % 10

    monkeypatch.setattr(CellImages, "undefended_predictions", predict)


@pytest.mark.usefixtures("undefended_predictions")
@pytest.mark.parametrize(
    ("fooled_only", "expected"), [(False, CorrectCount(1, 4)), (True, CorrectCount(0, 2))]
)
def test_only_images_that_were_correct_before_the_attack_fool(tmp_path, fooled_only, expected):
    store = TargetStore(tmp_path)
    cell = PaperCell(CLASSIFIER, EXAMPLES, None, 4, 0, fooled_only)
    cell.path(store).parent.mkdir()
    cell.make(store)
    measured = cell.measurement(store)
    assert measured.ours == measured.undefended == measured.white_box == expected
