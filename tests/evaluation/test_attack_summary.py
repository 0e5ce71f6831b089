from types import SimpleNamespace

import numpy as np
import pytest

from tfdefense.evaluation.attack_summary import format_attack_summary, summarize_attack


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


def test_each_share_is_of_its_own_images(examples, toy_split):
    examples.success = np.array([True, True, True, False])
    examples.success_8bit = np.array([True, True, False, False])
    examples.clean_success = np.array([False, False, True, False])
    summary = summarize_attack(examples, toy_split)
    names = ("success", "success_8bit", "clean_success", "no_gradient")
    assert [summary[name]["share"] for name in names] == [0.75, 0.5, 0.25, 0.25]
    lines = [line.split() for line in format_attack_summary(examples, toy_split).splitlines()]
    shown = {" ".join(words[:-4]): words[-4] for words in lines if "n=4" in words[-1:]}
    assert shown == {
        "fooled": "75.0%",
        "rounded to 8 bits": "50.0%",
        "before the attack": "25.0%",
    }


def test_norms_leave_out_images_that_fool_before_the_attack(examples, toy_split):
    examples.success = np.array([True, True, True, False])
    examples.clean_success = np.array([False, False, True, False])
    for number, name in enumerate(("l0", "l2", "linf")):
        setattr(examples, name, 10.0**number * np.array([1, 3, 100, 200]))
    summary = summarize_attack(examples, toy_split)
    for number, name in enumerate(("l0", "l2", "linf")):
        scale = 10.0**number
        assert summary[name] == {"mean": 2 * scale, "median": 2 * scale, "max": 3 * scale}


def test_costs_are_of_all_images(examples, toy_split):
    examples.queries, examples.gradients = np.array([1, 2, 3, 10]), np.array([0, 0, 0, 4])
    summary = summarize_attack(examples, toy_split)
    assert summary["queries"] == {"mean": 4.0, "median": 2.5, "max": 10.0}
    assert summary["gradients"] == {"mean": 1.0, "median": 0.0, "max": 4.0}
