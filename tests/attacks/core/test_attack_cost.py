import pytest

from tfdefense.attacks import (
    APGDT,
    BIM,
    FABT,
    JSMA,
    PGD,
    AutoAttack,
    CarliniWagnerL2,
    DeepFool,
    StrongestOf,
)
from tfdefense.attacks.core.attack_cost import AttackCost, total_cost


def test_costs_add_up_unless_one_is_unknown():
    cost = AttackCost(gradients=3, predictions=2)
    assert cost.plus(AttackCost(1, 1)) == AttackCost(4, 3)
    assert cost.plus(cost) == cost.times(2) == total_cost([cost, cost])
    assert total_cost([cost, None]) is None


def test_a_prediction_costs_a_third_of_a_gradient():
    assert AttackCost(gradients=3, predictions=2).in_gradients == pytest.approx(3 + 2 / 3)


def test_attacks_whose_images_finish_early_have_a_lower_typical_cost():
    assert JSMA(theta=0.3).typical_cost((28, 28, 1), 10) == pytest.approx(20 + 1 / 3)
    logits = JSMA(theta=0.3, saliency="logits")
    assert logits.typical_cost((28, 28, 1), 10) == pytest.approx(40 + 1 / 3)
    assert JSMA().typical_cost((2, 2, 1), 10) == JSMA().largest_cost((2, 2, 1), 10).in_gradients
    largest = DeepFool().largest_cost((28, 28, 1), 10).in_gradients
    assert DeepFool().typical_cost((28, 28, 1), 10) == pytest.approx(3 / 50 * largest)
    assert DeepFool(steps=2).typical_cost((28, 28, 1), 10) == pytest.approx(18 + 1)
    patient = CarliniWagnerL2(abort_early=False).typical_cost((28, 28, 1), 10)
    assert CarliniWagnerL2().typical_cost((28, 28, 1), 10) == pytest.approx(0.55 * patient)
    assert BIM(steps=7).typical_cost((28, 28, 1), 10) == 7


def test_costs_follow_the_sizes_of_the_images_and_the_number_of_classes():
    assert JSMA(gamma=0.145).largest_cost((224, 224, 3), 10).gradients == 10_915
    assert JSMA(gamma=0.145, saliency="logits").largest_cost((224, 224, 3), 10).gradients == 21_830
    assert APGDT(steps=10).largest_cost((8, 8, 1), 1_000).gradients == 9 * 11
    assert APGDT(steps=10).largest_cost((8, 8, 1), 4).gradients == 3 * 11
    assert FABT(steps=10).largest_cost((8, 8, 1), 2) == AttackCost(10, 11)


def test_parts_count_as_one_attack():
    standard = AutoAttack().largest_cost((28, 28, 1), 10)
    assert standard.gradients == 101 + 9 * 101 + 9 * 100
    assert standard.predictions >= 5_000
    rand = AutoAttack(version="rand").largest_cost((28, 28, 1), 10)
    assert rand.gradients == 20 * 2 * 101
    parts = (PGD(steps=3), PGD(steps=4))
    assert StrongestOf(parts).largest_cost((8, 8, 1), 3).gradients == 7


def test_the_cost_of_a_foreign_attack_is_unknown():
    class Foreign(PGD):
        def largest_cost(self, image_shape, num_classes):
            return None

    assert StrongestOf((PGD(), Foreign())).largest_cost((8, 8, 1), 3) is None
    assert Foreign().typical_cost((8, 8, 1), 3) is None
