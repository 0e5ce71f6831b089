"""Default sizes of an evaluation, which depend on how slow a defence is."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class EvaluationBudget:
    """Number of images and steps that an evaluation uses if the caller gives none.

    Attributes:
      images: test images; None for all.
      white_box_images: test images of white-box and black-box attacks.
      check_images: test images of the checks that look for hidden gradients, at most.
      check_steps: PGD steps in these checks, at most.
      random_perturbations: random perturbations of each of their images, and the upper bound of
        square-attack queries.
      eot_images: test images of white-box attacks that average over the draws of a randomised defence.
      fixed_checks: whether checks have these sizes on every machine. Otherwise they have smaller
        ones if they would take more than a third of the time of the report.
    """

    images: int | None = None
    white_box_images: int = 1_000
    check_images: int = 100
    check_steps: int = 40
    random_perturbations: int = 10_000
    eot_images: int = 200
    fixed_checks: bool = False

    @staticmethod
    def smallest(budgets: Sequence["EvaluationBudget"]) -> "EvaluationBudget":
        """Return the field-wise minimum; the checks are fixed if one budget fixes them."""
        limited = [budget.images for budget in budgets if budget.images is not None]
        return EvaluationBudget(
            images=min(limited, default=None),
            white_box_images=min(budget.white_box_images for budget in budgets),
            check_images=min(budget.check_images for budget in budgets),
            check_steps=min(budget.check_steps for budget in budgets),
            random_perturbations=min(budget.random_perturbations for budget in budgets),
            eot_images=min(budget.eot_images for budget in budgets),
            fixed_checks=any(budget.fixed_checks for budget in budgets),
        )
