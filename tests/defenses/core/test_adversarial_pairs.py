import numpy as np
import tensorflow as tf

from tfdefense.attacks import FGSM
from tfdefense.defenses.core.adversarial_pairs import make_fgsm_pairs, apply_fgsm


def test_pairs_are_fgsm_examples_of_every_strength(toy_model, toy_split):
    pairs = make_fgsm_pairs(toy_model, toy_split)
    assert pairs["direction"].dtype == np.int8
    for epsilon in (0.0, 0.1, 0.5):
        expected = FGSM(epsilon=epsilon)(toy_model, toy_split.images, toy_split.labels)
        np.testing.assert_allclose(apply_fgsm(pairs, tf.constant(epsilon)), expected, atol=1e-6)


def test_strengths_may_differ_within_a_batch(toy_model, toy_split):
    pairs = make_fgsm_pairs(toy_model, toy_split)
    strengths = np.linspace(0, 1, len(toy_split), dtype=np.float32)
    moved = np.abs(apply_fgsm(pairs, strengths) - toy_split.images).max(axis=(1, 2, 3))
    assert np.all(moved <= strengths + 1e-6)
    assert moved[-1] > 0.5
