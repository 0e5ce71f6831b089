"""Attacks of foolbox through the adapter: the same accuracy as with our attacks."""

import pytest
import tensorflow as tf

from tfdefense.attacks import BIM

foolbox = pytest.importorskip("foolbox", reason="tfdefense[foolbox] is not installed")


@pytest.mark.slow
def test_attacks_of_foolbox_on_a_pipeline_equal_ours(defense, toy_split, accuracy):
    from tfdefense.adapters.foolbox import foolbox_model

    model, images = defense.defend(), tf.constant(toy_split.images)
    labels = toy_split.labels
    attack = foolbox.attacks.LinfBasicIterativeAttack(
        rel_stepsize=0.25, steps=10, random_start=False
    )
    _, theirs, _ = attack(foolbox_model(model), images, tf.constant(labels, tf.int64), epsilons=0.2)
    ours = BIM(epsilon=0.2, relative_step_size=0.25, steps=10)(model, images, labels)
    assert accuracy(model, theirs, labels) == accuracy(model, ours, labels)
