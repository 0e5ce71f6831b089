"""Attackers of the black-box column."""

from tfdefense.attacks import PGD, DeepFool, HopSkipJump, Square
from tfdefense.evaluation.black_box import black_box_attacks

SHAPE = (28, 28, 1)


def test_they_are_the_given_ones_or_have_the_budget():
    square, hop = Square(epsilon=0.1, queries=7), HopSkipJump(epsilon=0.2, queries=9)
    usual = Square(epsilon=0.3, queries=100), HopSkipJump(epsilon=0.3, queries=100)
    assert black_box_attacks([PGD()], SHAPE, 100, 0.3) == usual
    assert black_box_attacks([PGD(), square], SHAPE, 100, 0.3) == (square, usual[1])
    assert black_box_attacks([hop, square], SHAPE, 100, 0.3) == (square, hop)


def test_they_have_the_ball_of_the_attacks():
    in_l2 = [PGD(epsilon=2.0, norm="l2"), PGD(epsilon=1.0, norm="l2")]
    square, hop = black_box_attacks(in_l2, SHAPE, 100, 0.3)
    assert (square.epsilon, square.norm) == (hop.epsilon, hop.norm) == (2.0, "l2")
    both = black_box_attacks([*in_l2, PGD(epsilon=0.2)], SHAPE, 100, 0.3)
    assert [(attack.epsilon, attack.norm) for attack in both] == [(0.2, "linf")] * 2
    # Square in L2 needs images of 10x10.
    square, _ = black_box_attacks(in_l2, (8, 8, 1), 100, 0.3)
    assert (square.epsilon, square.norm) == (0.3, "linf")


def test_they_have_the_usual_radius_if_no_attack_has_one():
    both = black_box_attacks([DeepFool()], SHAPE, 100, usual_epsilon=0.1)
    assert [(attack.epsilon, attack.norm) for attack in both] == [(0.1, "linf")] * 2
