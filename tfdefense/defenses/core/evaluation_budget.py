"""Default sizes of an evaluation, which depend on how slow a defence is."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class EvaluationBudget:
    """Number of images and steps that an evaluation uses if the caller gives none.

    Attributes:
      images: test images; None for all.
      white_box_images: test images of white-box and black-box attacks.
      check_images: test images of the checks that look for hidden gradients.
      check_steps: PGD steps in these checks.
      random_perturbations: random perturbations of each of their images, and the upper bound of
        square-attack queries.
    """

    images: int | None = None
    white_box_images: int = 1_000
    check_images: int = 100
    check_steps: int = 40
    random_perturbations: int = 10_000

    @staticmethod
    def smallest(budgets: Sequence["EvaluationBudget"]) -> "EvaluationBudget":
        """Return the field-wise minimum."""
        limited = [budget.images for budget in budgets if budget.images is not None]
        return EvaluationBudget(
            images=min(limited, default=None),
            white_box_images=min(budget.white_box_images for budget in budgets),
            check_images=min(budget.check_images for budget in budgets),
            check_steps=min(budget.check_steps for budget in budgets),
            random_perturbations=min(budget.random_perturbations for budget in budgets),
        )
