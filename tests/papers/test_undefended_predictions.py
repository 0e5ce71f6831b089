import numpy as np
import pytest

from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import ClassifierTarget, ExamplesTarget
from tfdefense.papers.undefended_predictions import CellImages

CLASSIFIER = ClassifierTarget("digits", "lenet", 2)
EXAMPLES = ExamplesTarget(CLASSIFIER, "fgsm:epsilon=0.3", 4)


@pytest.fixture
def store(tmp_path):
    found = TargetStore(tmp_path)
    for target, name in ((CLASSIFIER, "classifier.keras"), (EXAMPLES, "summary.json")):
        target.path(found).mkdir(parents=True)
        (target.path(found) / name).write_text("first")
    return found


@pytest.fixture
def calls(monkeypatch):
    """The number of images of each prediction that is computed."""
    made = []

    def predict(self, store):
        made.append(self.count)
        return np.full(self.count, len(made), np.int32)

    monkeypatch.setattr(CellImages, "predict", predict)
    return made


@pytest.mark.parametrize("examples", [None, EXAMPLES])
def test_predictions_are_computed_once_and_for_all_examples(store, calls, examples):
    for count in (3, 2):
        predicted = CellImages(CLASSIFIER, examples, count).undefended_predictions(store)
        np.testing.assert_array_equal(predicted, np.full(count, 1))
    assert calls == [3 if examples is None else 4]


@pytest.mark.parametrize(
    "made_again", ["classifiers/*/classifier.keras", "examples/*/summary.json"]
)
def test_predictions_of_a_replaced_classifier_or_examples_are_computed_again(
    store, calls, made_again
):
    images = CellImages(CLASSIFIER, EXAMPLES, 3)
    images.undefended_predictions(store)
    (path,) = store.path.glob(made_again)
    path.write_text("second, of another size")
    np.testing.assert_array_equal(images.undefended_predictions(store), [2, 2, 2])


def test_examples_for_another_classifier_are_refused():
    with pytest.raises(AssertionError):
        CellImages(ClassifierTarget("digits", "lenet", 3), EXAMPLES, 3)
