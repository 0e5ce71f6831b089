import numpy as np
import tensorflow as tf

from tfdefense.attacks import FGSM
from tfdefense.defenses.core.adversarial_pairs import (
    apply_fgsm,
    draw_adversarial,
    make_fgsm_pairs,
)
from tfdefense.training import Replica


def test_pairs_give_fgsm_examples_of_any_strength(toy_model, toy_split):
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


def test_each_image_draws_one_stored_attack_anew_in_each_step():
    batch = {f"adversarial_{i}": tf.fill([60, 2, 2, 1], float(i)) for i in range(3)}

    def draw(step):
        replica = Replica(0, tf.constant(step, tf.int64), 60)
        return draw_adversarial(batch, (0.1,), replica).numpy()

    first = draw(0)
    assert first.shape == (60, 2, 2, 1)
    assert set(first[:, 0, 0, 0]) == {0.0, 1.0, 2.0}
    np.testing.assert_array_equal(first, draw(0))
    assert np.any(first != draw(1))
