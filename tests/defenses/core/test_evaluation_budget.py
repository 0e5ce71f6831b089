from tfdefense.defenses.core.evaluation_budget import EvaluationBudget


def test_the_smallest_budget_has_the_minimum_of_each_field():
    few_images = EvaluationBudget(images=200, white_box_images=20, eot_images=7)
    few_checks = EvaluationBudget(check_images=2, check_steps=10, random_perturbations=100)
    assert EvaluationBudget.smallest([few_images, few_checks]) == EvaluationBudget(
        200, 20, 2, 10, 100, 7
    )
    assert EvaluationBudget.smallest([few_checks, few_checks]).images is None
