"""Comparison of two readings of a model's predictions for the same images."""

import math

import numpy as np

from tfdefense.utils.statistics import wilson_interval

# A reading is clearly better if its accuracy is higher by this, and not by chance.
_CLEAR_GAIN = 0.1
_LARGEST_P = 0.02


def is_clear_gain(better: np.ndarray, other: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether a reading has learned something, and is clearly better than another.

    Args:
      better: whether it is correct for each image, bool [N].
      other: the same for the other reading.
      labels: true classes, integers [N].
    """
    if np.mean(better) < np.mean(other) + _CLEAR_GAIN or not is_beyond_chance(better, other):
        return False
    # A model that has learned nothing is near the share of the largest class in every reading.
    return wilson_interval(int(better.sum()), len(better))[0] > largest_share(labels)


def is_beyond_chance(better: np.ndarray, other: np.ndarray) -> bool:
    """Return whether a reading is more often correct than an equally good one would be by chance."""
    return sign_test(better, other) <= _LARGEST_P


def largest_share(labels: np.ndarray) -> float:
    """Return the share of the largest class among labels, integers [N]."""
    return float(np.bincount(labels).max() / len(labels))


def sign_test(better: np.ndarray, other: np.ndarray) -> float:
    """Return the probability of as many gains of `better`, bool [N], if both were equally good.

    Only images that one of the two predicts correctly count; each is then a toss of a fair coin.
    """
    gains, losses = int(np.sum(better & ~other)), int(np.sum(other & ~better))
    tosses = gains + losses
    return sum(math.comb(tosses, count) for count in range(gains, tosses + 1)) / 2**tosses
