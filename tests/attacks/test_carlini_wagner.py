"""C&W: the closed form on a linear model; what its hyperparameters promise."""

import numpy as np
import pytest

from tests.attacks.conftest import SHAPE
from tests.attacks.test_deepfool import nearest
from tfdefense.attacks import CarliniWagnerL2, DeepFool


@pytest.mark.parametrize("box", ["projected", "tanh"])
def test_on_a_linear_model_it_finds_the_nearest_boundary(box, linear, linear_images):
    images, labels = linear_images
    attack = CarliniWagnerL2(box=box, searches=9)
    result = attack.run(linear, images, labels)
    assert np.asarray(result.success).all()
    expected = nearest(linear, images, labels, "l2")
    np.testing.assert_array_less(expected * 0.999, result.l2)
    np.testing.assert_allclose(result.l2, expected, rtol=0.08, atol=3e-4)


def test_confidence_is_kept(victim, victim_images, victim_labels):
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


def test_aims_at_targets(victim, victim_images, victim_labels):
    targets = (victim_labels + 1) % 5
    result = CarliniWagnerL2(searches=5).run(victim, victim_images, victim_labels, targets)
    assert np.asarray(result.success).all()
    anywhere = CarliniWagnerL2(searches=5).run(victim, victim_images, victim_labels)
    assert np.mean(anywhere.l2) < np.mean(result.l2)


def test_more_searches_are_never_worse(victim, victim_images, victim_labels):
    def found(searches):
        return CarliniWagnerL2(searches=searches).run(victim, victim_images, victim_labels)

    one, six = found(1), found(6)
    assert np.all(np.asarray(six.success) >= np.asarray(one.success))
    both = np.asarray(one.success)
    assert np.all(np.asarray(six.l2)[both] <= np.asarray(one.l2)[both] + 1e-6)


def test_gets_nearer_than_deepfool(victim, victim_images, victim_labels):
    fast = DeepFool().run(victim, victim_images, victim_labels).l2
    slow = CarliniWagnerL2().run(victim, victim_images, victim_labels).l2
    assert np.mean(slow) < np.mean(fast)


def test_images_that_cannot_be_fooled_come_back_as_they_were(victim, victim_images, victim_labels):
    result = CarliniWagnerL2(confidence=1e4, searches=2, steps=5).run(
        victim, victim_images, victim_labels
    )
    np.testing.assert_array_equal(result.images, victim_images)
    assert not np.asarray(result.success).any()


@pytest.mark.parametrize("box", ["projected", "tanh"])
def test_black_and_white_pixels_stay_within_range(box, linear):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 5, (8, *SHAPE)).astype(np.float32) / 4
    labels = np.argmax(linear.numpy(images), 1).astype(np.int32)
    attack = CarliniWagnerL2(searches=4, steps=30, learning_rate=0.1, box=box)
    result = attack.run(linear, images, labels)
    assert np.asarray(result.success).any()
    assert np.min(result.images) >= 0
    assert np.max(result.images) <= 1
