"""Largest cost of an attack, known before it begins."""

from collections.abc import Sequence
from typing import NamedTuple


class AttackCost(NamedTuple):
    """Largest number of model computations that an attack makes for one image.

    Attributes:
      gradients: number of computed gradients; each computes the logits too.
      predictions: number of times that the logits are computed without a gradient.
    """

    gradients: int
    predictions: int

    @property
    def in_gradients(self) -> float:
        """Cost in gradients, of which each takes the time of three predictions."""
        return self.gradients + self.predictions / 3

    def plus(self, other: "AttackCost") -> "AttackCost":
        """Return the cost of both."""
        return AttackCost(self.gradients + other.gradients, self.predictions + other.predictions)

    def times(self, number: int) -> "AttackCost":
        """Return the cost of `number` such attacks."""
        return AttackCost(number * self.gradients, number * self.predictions)


def total_cost(costs: Sequence[AttackCost | None]) -> AttackCost | None:
    """Return the sum of the costs; None if one of them is unknown."""
    total = AttackCost(0, 0)
    for cost in costs:
        if cost is None:
            return None
        total = total.plus(cost)
    return total
