"""One measured accuracy, which reports are made of."""

import dataclasses

import numpy as np

from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import share_cell


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """One measured accuracy.

    Attributes:
      dataset, classifier: what was attacked.
      defense: what stood before it, or "none".
      trained_with: the classifier that the defence was trained with, or "none".
      attack, epsilon: what attacked; "none" and 0 for clean images, None for an attack without radius.
      threat_model: "none" (clean), "grey_box" (the attack saw the classifier alone), "white_box" (it saw
        everything that stands in the row), "transfer" (it saw another classifier) or "black_box" (it saw
        nothing, and asked for logits).
      accuracy, n: share of the n images classified correctly, in [0, 1].
      ci_low, ci_high: 95 % Wilson interval.
      seconds: for crafting and judging.
      clean_accuracy: of the same images before the attack.
      success: share of those that were right before and are wrong now; None where none was right.
      l1, l2, linf: mean norms of what the attack added; None in a row of several attacks.
      left_l1, left_l2, left_linf: of what still differs from the clean images after purifying; None where
        nothing purifies.
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
    clean_accuracy: float
    success: float | None
    l1: float | None = None
    l2: float | None = None
    linf: float | None = None
    left_l1: float | None = None
    left_l2: float | None = None
    left_linf: float | None = None

    @classmethod
    def measured(cls, correct: np.ndarray, **fields: str | float | None) -> "ResultRow":
        """A row from `correct`, bool [n], one for each image that was really judged."""
        low, high = wilson_interval(int(correct.sum()), len(correct))
        return cls(
            accuracy=float(correct.mean()), n=len(correct), ci_low=low, ci_high=high, **fields
        )


def format_accuracy(row: ResultRow | None) -> str:
    """Accuracy, interval and n; a dash where there is no row."""
    if row is None:
        return "-"
    return share_cell(row.accuracy, row.ci_low, row.ci_high, row.n)
