"""Every measurement of every image of a report, as tables."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfdefense.evaluation.per_image_results import NORMS, REFUSED, PerImageResults, ResultKey


@dataclasses.dataclass(frozen=True)
class ImagePredictions:
    """Results of one row of a report on its n images.

    Attributes:
      key: pipeline, attack and threat model of the row.
      labels: true classes int32 [n].
      results: everything else; what the file lacks is None.
    """

    key: ResultKey
    labels: np.ndarray
    results: PerImageResults

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> np.ndarray:
        """bool [n]; an attacked image is also correct if it is refused."""
        correct = self.results.predicted == self.labels
        if self.key.attack != "none":
            correct = correct | (self.results.predicted == REFUSED)
        return correct

    @property
    def fooled_by(self) -> np.ndarray:
        """Attack that fooled each image, text [n]; "" for none, "none" if it is wrong when clean.

        In a row of one attack it is that attack for every image that is not correct.
        """
        if self.results.fooled_by is None or self.results.attacks is None:
            return np.where(self.correct, "", self.key.attack)
        return _pick(self.results.attacks, self.results.fooled_by)

    @property
    def surrogate(self) -> np.ndarray | None:
        """Surrogate gradient that fooled each image, text [n]; "" for none; None if unknown."""
        index = self.results.surrogate
        return None if index is None else _pick(self.results.surrogates, index)

    def columns(self) -> dict[str, np.ndarray | None]:
        """Return name -> array [n] of everything that is known of each image; None if it is not."""
        results = self.results
        left = [None] * len(NORMS) if results.left is None else results.left.T
        return {
            "image": np.arange(len(self)),
            "label": self.labels,
            "predicted": results.predicted,
            "correct": self.correct,
            "fooled_by": self.fooled_by,
            "surrogate": self.surrogate,
            "l0": results.changed_pixels,
            **dict(zip(NORMS, results.perturbation.T, strict=True)),
            **{f"left_{name}": each for name, each in zip(NORMS, left, strict=True)},
            "change": results.change,
            "disagreement": results.disagreement,
            "queries": results.queries,
            "gradients": results.gradients,
            "excess": results.excess,
            "counted": np.ones(len(self), bool) if results.counted is None else results.counted,
        }


class Predictions(Mapping[ResultKey, ImagePredictions]):
    """Results per image of a report: `predictions[defense, attack, threat_model]`.

    Args:
      labels: true classes int32 [N].
      results: by row.
    """

    def __init__(self, labels: np.ndarray, results: Mapping[ResultKey, PerImageResults]) -> None:
        self.labels = labels
        self._rows = {
            key: ImagePredictions(key, labels[: len(each)], each) for key, each in results.items()
        }

    def __getitem__(self, key: tuple[str, str, str]) -> ImagePredictions:
        return self._rows[ResultKey(*key)]

    def __iter__(self) -> Iterator[ResultKey]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def to_records(self) -> list[dict[str, Any]]:
        """Return one dictionary per row and image: the key's three parts and `columns`.

        Values are plain Python, or None, as `csv.DictWriter` and `pandas.DataFrame` take them.
        """
        records = []
        for key, row in self.items():
            columns = {
                name: [None] * len(row) if values is None else values.tolist()
                for name, values in row.columns().items()
            }
            for values in zip(*columns.values(), strict=True):
                records.append({**key._asdict(), **dict(zip(columns, values, strict=True))})
        return records


def _pick(names: np.ndarray | None, indices: np.ndarray) -> np.ndarray:
    """Return the name at each index, and "" for -1."""
    return np.array([*([] if names is None else names), ""])[indices]
