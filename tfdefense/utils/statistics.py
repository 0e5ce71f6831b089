"""Confidence intervals of accuracies."""

from scipy.stats import binomtest


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, (low, high) in [0, 1].

    Args:
      correct: the number of successes.
      n: the number of trials, at least 1.
      confidence: the confidence level in (0, 1).
    """
    interval = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
