import numpy as np
import pytest

from tfdefense.evaluation.result import ResultRow, format_accuracy
from tfdefense.utils.statistics import wilson_interval

FIELDS = {
    "dataset": "toy",
    "classifier": "toy",
    "defense": "bit_depth",
    "trained_with": "toy",
    "attack": "fgsm",
    "epsilon": 0.1,
    "threat_model": "grey_box",
    "seconds": 0.0,
    "clean_accuracy": 1.0,
    "success": 0.1,
}


def test_row_has_accuracy_n_and_wilson_interval():
    row = ResultRow.from_correct(np.arange(50) < 45, **FIELDS)
    assert (row.accuracy, row.n) == (0.9, 50)
    assert (row.ci_low, row.ci_high) == wilson_interval(45, 50)
    assert format_accuracy(row) == "90.0% [78.6, 95.7] n=50"


def test_missing_row_is_a_dash():
    assert format_accuracy(None) == "-"


def test_wilson_interval_is_the_formula():
    """Wilson 1927, computed from the formula."""
    n, p, z = 50, 0.9, 1.959963984540054
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert wilson_interval(45, 50) == pytest.approx((center - half, center + half))
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(10, 10)[1] == 1
