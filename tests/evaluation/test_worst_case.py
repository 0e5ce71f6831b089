import numpy as np

from tfdefense.evaluation.per_image_results import PerImageResults
from tfdefense.evaluation.worst_case import AttackAttempt, worst_case_results


def results(predicted, queries=None, surrogate=None):
    n = len(predicted)
    return PerImageResults(
        np.array(predicted, np.int32),
        np.full((n, 3), predicted[0], np.float32),
        queries=None if queries is None else np.array(queries, np.int32),
        surrogate=None if surrogate is None else np.array(surrogate, np.int32),
        surrogates=None if surrogate is None else np.array(["leaky", "smooth"]),
    )


def test_the_first_attack_that_fools_an_image_decides():
    """The label of each image is 0: wrong when clean, fooled by the first, by the second, by none."""
    attempts = [
        ("none", results([1, 0, 0, 0, 0])),
        ("fgsm", results([5, 2, 0, 0], [1, 1, 1, 1], [-1, 0, -1, -1])),
        ("bim", results([6, 7, 3, 0], [10, 20, 30, 40], [0, 0, 1, -1])),
    ]
    found = worst_case_results(
        [AttackAttempt(name, each, each.predicted == 0) for name, each in attempts]
    )
    assert found.attacks.tolist() == ["none", "fgsm", "bim"]
    assert found.fooled_by.tolist() == [0, 1, 2, -1]
    assert found.predicted.tolist() == [1, 2, 3, 0]
    assert found.perturbation[:, 0].tolist() == [1, 5, 6, 6]
    assert found.queries.tolist() == [0, 1, 31, 41], "an attacker stops at the first success"
    assert found.surrogate.tolist() == [-1, 0, 1, -1]
    assert found.surrogates.tolist() == ["leaky", "smooth"]
    assert found.gradients is None, "one attack does not know its gradients"
    assert found.counted is None
