"""Results of the first attack, of several, that fools each image."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfdefense.evaluation.per_image_results import PerImageResults


class AttackAttempt(NamedTuple):
    """Results of one attack.

    Attributes:
      name: label of the attack; "none" for clean images.
      results: per image.
      correct: bool [n], images that withstand the attack.
    """

    name: str
    results: PerImageResults
    correct: np.ndarray


def without_cost(results: PerImageResults) -> PerImageResults:
    """Return results whose known costs are 0, for images that an earlier attempt paid for."""
    costs = {name: getattr(results, name) for name in ("queries", "gradients")}
    free = {name: np.zeros_like(cost) for name, cost in costs.items() if cost is not None}
    return dataclasses.replace(results, **free)


def worst_case_results(
    attempts: Sequence[AttackAttempt], counted: np.ndarray | None = None
) -> PerImageResults:
    """Return for each image the results of the first attack that fools it, or else of the last one.

    `queries` and `gradients` are sums over the attacks up to that one: the cost of an attacker who
    tries them in this order and stops at the first success.

    Args:
      attempts: the attacks in order, at least one; clean images come first. The images that all of
        them have are compared.
      counted: bool [n], as in `PerImageResults`.
    """
    n = min(len(attempt.results) for attempt in attempts)
    fooled = np.stack([~attempt.correct[:n] for attempt in attempts])
    fooled_by = np.where(fooled.any(axis=0), fooled.argmax(axis=0), -1).astype(np.int32)
    decisive = np.where(fooled_by < 0, len(attempts) - 1, fooled_by)

    def values_of(name: str, clean: int | None = None) -> list[np.ndarray] | None:
        """Return a field of each attempt; `clean` replaces that of clean images, which have none."""
        arrays = [getattr(attempt.results, name) for attempt in attempts]
        if clean is not None:
            arrays[0] = np.full(n, clean, np.int32)
        return None if any(array is None for array in arrays) else [each[:n] for each in arrays]

    def decide(arrays: Sequence[np.ndarray] | np.ndarray | None) -> np.ndarray | None:
        return None if arrays is None else np.stack(list(arrays))[decisive, np.arange(n)]

    def sum_up(name: str) -> np.ndarray | None:
        arrays = values_of(name, 0)
        return None if arrays is None else decide(np.cumsum(arrays, axis=0, dtype=np.int64))

    predicted, perturbation = decide(values_of("predicted")), decide(values_of("perturbation"))
    surrogate = decide(values_of("surrogate", -1))
    names = [attempt.results.surrogates for attempt in attempts]
    assert predicted is not None
    assert perturbation is not None
    return PerImageResults(
        predicted=predicted,
        perturbation=perturbation,
        left=decide(values_of("left")),
        change=decide(values_of("change")),
        disagreement=decide(values_of("disagreement")),
        excess=decide(values_of("excess")),
        counted=None if counted is None or counted.all() else counted,
        changed_pixels=decide(values_of("changed_pixels")),
        queries=sum_up("queries"),
        gradients=sum_up("gradients"),
        surrogate=None if surrogate is None else np.where(fooled_by < 0, -1, surrogate),
        surrogates=next((each for each in names if each is not None), None),
        attacks=np.array([attempt.name for attempt in attempts]),
        fooled_by=fooled_by,
    )
