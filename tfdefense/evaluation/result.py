"""One measured accuracy: a row of a report."""

import dataclasses
from typing import Any

import numpy as np

from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """Accuracy of one pipeline under one attack and threat model.

    Attributes:
      dataset, classifier: names of the images and of the attacked classifier.
      defense: name of the defence in front of the classifier, or "none".
      trained_with: name of the classifier that the defence was trained with, or "none".
      attack: label of the attack, "worst_case", or "none" for clean images.
      epsilon: radius of the attack; 0 for clean images, None for an attack without a radius.
      threat_model: "none" (clean), "grey_box" (the attack knows only the classifier), "white_box"
        (it knows the pipeline), "transfer" (it knows only another classifier) or "black_box" (it only
        queries logits or classes). A randomised defence also has "white_box_eot", "white_box_resubmitted" and,
        in one worst-case row, "any_white_box": see `threat_models`.
      accuracy: share of the n images that are classified correctly, in [0, 1].
      n: number of images.
      ci_low, ci_high: 95 % Wilson interval of the accuracy.
      seconds: time for the attack and the predictions.
      clean_accuracy: accuracy on the same images before the attack.
      success: share that is wrong after the attack, of the images that were correct before it; None
        if none was.
      l1, l2, linf: mean norms of what the attack added; None in a worst-case row.
      left_l1, left_l2, left_linf: mean norms of the difference between purified and clean images; None
        without a purifier.
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
    def from_correct(cls, correct: np.ndarray, **fields: Any) -> "ResultRow":
        """Return the row of images that are classified correctly or not, bool [n].

        Args:
          correct: bool [n].
          **fields: all fields but accuracy, n and the interval.
        """
        low, high = wilson_interval(int(correct.sum()), len(correct))
        return cls(
            accuracy=float(correct.mean()), n=len(correct), ci_low=low, ci_high=high, **fields
        )


def format_accuracy(row: ResultRow | None) -> str:
    """Return accuracy, interval and n as text; a dash if there is no row."""
    if row is None:
        return "-"
    return format_share(row.accuracy, row.ci_low, row.ci_high, row.n)
