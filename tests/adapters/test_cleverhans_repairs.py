"""Attacks of cleverhans that do not run without the repairs."""

import numpy as np
import pytest
from cleverhans.tf2.attacks import fast_gradient_method, spsa

from tfdefense.adapters.cleverhans_repairs import repaired_cleverhans
from tfdefense.attacks.core.spec import parse_attack


@pytest.mark.slow
def test_spsa_runs_and_fools_the_model(toy_model, toy_split):
    few = toy_split.take(3)
    attack = parse_attack("cleverhans:spsa:nb_iter=20:learning_rate=0.05:epsilon=0.5")
    result = attack.run(toy_model, few.images, few.labels)
    assert np.asarray(result.success).any()
    assert not np.asarray(result.gradients).any()


@pytest.mark.slow
def test_carlini_wagner_runs_and_fools_the_model_by_little(toy_model, toy_split):
    few = toy_split.take(3)
    text = "max_iterations=60:binary_search_steps=2:learning_rate=0.1:initial_const=10"
    attack = parse_attack(f"cleverhans:carlini_wagner_l2:{text}:abort_early=False")
    result = attack.run(toy_model, few.images, few.labels)
    assert np.asarray(result.success).all()
    targets = (few.labels + 1) % 3
    targeted = attack.run(toy_model, few.images, few.labels, targets)
    assert np.asarray(targeted.success).any()


def test_cleverhans_is_as_before_at_the_end():
    gradient, optimizer = fast_gradient_method.compute_gradient, spsa.SPSAAdam
    with repaired_cleverhans():
        assert fast_gradient_method.compute_gradient is not gradient
        assert spsa.SPSAAdam is not optimizer
    assert fast_gradient_method.compute_gradient is gradient
    assert spsa.SPSAAdam is optimizer
