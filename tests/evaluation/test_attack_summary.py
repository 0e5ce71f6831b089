from types import SimpleNamespace

import numpy as np
import pytest

from tfdefense.evaluation.attack_summary import format_attack_summary


@pytest.fixture
def examples():
    """Adversarial examples of an attack that met a gradient of zero on one image of four."""
    fields = ("success", "success_8bit", "clean_success", "no_gradient")
    numbers = dict.fromkeys(("l0", "l2", "linf", "queries", "gradients"), np.ones(4))
    settings = {"attack": "pgd", "classifier": "toy", "dataset": "toy", "split": "test"}
    found = SimpleNamespace(**dict.fromkeys(fields, np.zeros(4, bool)), **numbers)
    found.settings, found.seconds, found.no_gradient = settings, 1.0, np.arange(4) == 0
    return found


def test_a_gradient_of_zero_is_named_without_a_claim_about_the_images(examples, toy_split):
    text = format_attack_summary(examples, toy_split)
    assert "of a part of it, is zero at every pixel of 25.0% of the images." in text
    assert "cannot change" not in text
    examples.no_gradient = np.zeros(4, bool)
    assert "Check failed" not in format_attack_summary(examples, toy_split)
