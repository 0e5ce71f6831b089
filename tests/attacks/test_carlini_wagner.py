"""C&W against the closed form on a linear model; the effect of each hyperparameter."""

import numpy as np
import pytest
import tensorflow as tf

from tests.attacks.conftest import SHAPE
from tfdefense.attacks import CarliniWagnerL2, DeepFool


@pytest.mark.slow
@pytest.mark.parametrize("box", ["projected", "tanh"])
def test_on_a_linear_model_it_finds_the_nearest_boundary(box, linear, linear_images):
    images, labels = linear_images
    attack = CarliniWagnerL2(box=box, searches=9)
    result = attack.run(linear, images, labels)
    assert np.asarray(result.success).all()
    expected = linear.boundary_distances(images, labels, "l2")
    np.testing.assert_array_less(expected * 0.999, result.l2)
    np.testing.assert_allclose(result.l2, expected, rtol=0.08, atol=3e-4)


@pytest.mark.slow
def test_margin_reaches_the_confidence(victim, victim_images, victim_labels):
    for confidence in (0.0, 1.0):
        attack = CarliniWagnerL2(confidence=confidence, searches=4)
        result = attack.run(victim, victim_images, victim_labels)
        logits = victim(result.images).numpy()
        rows = np.arange(20)
        of_label = logits[rows, victim_labels].copy()
        logits[rows, victim_labels] = -np.inf
        lead = (logits.max(1) - of_label)[np.asarray(result.success)]
        assert np.all(lead >= confidence - 1e-4)
        assert np.median(lead) < confidence + 0.3


@pytest.mark.slow
def test_given_targets_are_reached_at_a_larger_distance(victim, victim_images, victim_labels):
    targets = (victim_labels + 1) % 5
    result = CarliniWagnerL2(searches=5).run(victim, victim_images, victim_labels, targets)
    assert np.asarray(result.success).all()
    untargeted = CarliniWagnerL2(searches=5).run(victim, victim_images, victim_labels)
    assert np.mean(untargeted.l2) < np.mean(result.l2)


@pytest.mark.slow
def test_more_searches_are_never_worse(victim, victim_images, victim_labels):
    def run(searches):
        return CarliniWagnerL2(searches=searches).run(victim, victim_images, victim_labels)

    one, six = run(1), run(6)
    assert np.all(np.asarray(six.success) >= np.asarray(one.success))
    both = np.asarray(one.success)
    assert np.all(np.asarray(six.l2)[both] <= np.asarray(one.l2)[both] + 1e-6)


@pytest.mark.slow
def test_perturbations_are_smaller_than_those_of_deepfool(victim, victim_images, victim_labels):
    of_deepfool = DeepFool().run(victim, victim_images, victim_labels).l2
    of_cw = CarliniWagnerL2().run(victim, victim_images, victim_labels).l2
    assert np.mean(of_cw) < np.mean(of_deepfool)


@pytest.mark.slow
def test_images_that_withstand_the_attack_are_unchanged(victim, victim_images, victim_labels):
    result = CarliniWagnerL2(confidence=1e4, searches=2, steps=5).run(
        victim, victim_images, victim_labels
    )
    np.testing.assert_array_equal(result.images, victim_images)
    assert not np.asarray(result.success).any()


@pytest.mark.slow
@pytest.mark.parametrize("box", ["projected", "tanh"])
def test_black_and_white_pixels_stay_in_range(box, linear):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 5, (8, *SHAPE)).astype(np.float32) / 4
    labels = np.argmax(linear.numpy(images), 1).astype(np.int32)
    attack = CarliniWagnerL2(searches=4, steps=30, learning_rate=0.1, box=box)
    result = attack.run(linear, images, labels)
    assert np.asarray(result.success).any()
    assert np.min(result.images) >= 0
    assert np.max(result.images) <= 1


def test_a_whole_initial_constant_is_a_number(linear, linear_images):
    images, labels = linear_images
    whole, real = (
        CarliniWagnerL2(initial_const=const, searches=1, steps=3)(linear, images, labels)
        for const in (1, 1.0)
    )
    np.testing.assert_array_equal(whole, real)


def test_a_tie_that_the_label_wins_is_attacked():
    def model(images):
        total = tf.reduce_sum(images, axis=(1, 2, 3))
        return tf.stack([tf.fill(tf.shape(total), 0.5), total], axis=1)

    images = np.full((1, 1, 2, 1), 0.25, np.float32)
    result = CarliniWagnerL2().run(model, images, [0])
    assert bool(result.success[0])
    assert 0 < float(result.l2[0]) < 0.1
