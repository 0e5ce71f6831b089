"""One measured accuracy, which reports are made of."""

import dataclasses

import numpy as np

from tfdefense.evaluation.tables import share_cell
from tfdefense.intervals import wilson


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured accuracy.

    Attributes:
      dataset, classifier: what was attacked.
      defense: what stood before it, or "none".
      trained_with: the classifier that the defence was trained with, or "none".
      attack, epsilon: what attacked; "none" and 0 for clean images, None for an attack without radius.
      threat_model: "none" (clean), "grey_box" (the attack saw the classifier alone) or "white_box"
        (it saw everything that stands in the row).
      accuracy, n: share of the n images classified correctly, in [0, 1].
      ci_low, ci_high: 95 % Wilson interval.
      seconds: for crafting and judging.
    """

    dataset: str
    classifier: str
    defense: str
    trained_with: str
    attack: str
    epsilon: float | None
    threat_model: str
    accuracy: float
    n: int
    ci_low: float
    ci_high: float
    seconds: float

    @classmethod
    def measured(cls, correct: np.ndarray, **fields: str | float | None) -> "Row":
        """A row from `correct`, bool [n], one for each image that was really judged."""
        low, high = wilson(int(correct.sum()), len(correct))
        return cls(
            accuracy=float(correct.mean()), n=len(correct), ci_low=low, ci_high=high, **fields
        )


def row_cell(row: Row | None) -> str:
    """Accuracy, interval and n; a dash where there is no row."""
    if row is None:
        return "-"
    return share_cell(row.accuracy, row.ci_low, row.ci_high, row.n)
