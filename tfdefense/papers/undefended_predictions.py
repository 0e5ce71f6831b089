"""Predictions of a classifier alone, which all cells of a grid on the same images share.

Every defended cell needs the predictions of its classifier without the defence: for the undefended
accuracy, and for the images that count in tables of fooled images. They are computed once per
classifier and examples, and kept in the store.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import SCHEMA, StoredTarget
from tfdefense.papers.targets import ClassifierTarget, ExamplesTarget
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.json_types import typed_value
from tfdefense.utils.untrusted_file import read_json_file


@dataclasses.dataclass(frozen=True)
class CellImages:
    """First images of a test set, benign or adversarial.

    Attributes:
      classifier: the classifier whose dataset has the images.
      examples: adversarial examples for this classifier in place of the images; None for the benign
        images.
      count: number of images, not more than there are examples.
    """

    classifier: ClassifierTarget
    examples: ExamplesTarget | None
    count: int

    def __post_init__(self) -> None:
        assert self.examples is None or self.examples.classifier == self.classifier

    def load(self, store: TargetStore) -> Split:
        """Return the images with their labels."""
        clean = store.dataset(self.classifier.dataset).test.take(self.count)
        if self.examples is None:
            return clean
        adversarial = self.examples.load(store).adversarial[: self.count]
        return dataclasses.replace(clean, images=np.asarray(adversarial))

    def undefended_predictions(self, store: TargetStore) -> np.ndarray:
        """Return the classes that the classifier alone predicts, int32 [count].

        They are read from the store if it has enough of them, made from today's files of classifier
        and examples. Otherwise they are computed, for all examples or for `count` benign images, and
        stored. Two processes that need them at the same time both compute them.
        """
        path = self.predictions_path(store)
        sources = self._sources(store)
        predicted = _read_predictions(path, sources)
        if predicted is None or len(predicted) < self.count:
            predicted = self._all_examples().predict(store)
            path.parent.mkdir(parents=True, exist_ok=True)
            record = {"schema": SCHEMA, "sources": sources, "predicted": predicted.tolist()}
            write_text_file(path, json.dumps(record) + "\n")
        return predicted[: self.count]

    def predict(self, store: TargetStore) -> np.ndarray:
        """Compute the classes that the classifier alone predicts, int32 [count]."""
        return ModelRunner(self.classifier.load(store)).predict(self.load(store))

    def predictions_path(self, store: TargetStore) -> Path:
        """Return the file of the predictions; its name ends in the key of the examples."""
        target: StoredTarget = self.classifier if self.examples is None else self.examples
        return store.path / "predictions" / f"{target.path(store).name}.json"

    def _sources(self, store: TargetStore) -> list[tuple[int, ...]]:
        """Return size and time of the files whose replacement makes predictions invalid."""
        paths = [self.classifier.last_path(store)]
        if self.examples is not None:
            paths.append(self.examples.last_path(store))
        return [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths]

    def _all_examples(self) -> "CellImages":
        """Return all examples, so that a cell that needs more of them finds their predictions."""
        if self.examples is None or self.examples.images is None:
            return self
        return dataclasses.replace(self, count=max(self.count, self.examples.images))


def _read_predictions(path: Path, sources: list[tuple[int, ...]]) -> np.ndarray | None:
    """Return stored predictions, int32 [N]; None if the file is missing, damaged or of other sources."""
    try:
        record = typed_value(read_json_file(path), dict)
        if typed_value(record["schema"], int) != SCHEMA:
            return None
        if [tuple(each) for each in typed_value(record["sources"], list)] != sources:
            return None
        return np.array(typed_value(record["predicted"], tuple[int, ...]), np.int32)
    except (
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
    ):  # Missing, not a regular file, or damaged.
        return None
