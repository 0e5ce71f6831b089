"""Auto-PGD: the losses of the paper, and its strength."""

import numpy as np
import pytest
import tensorflow as tf

from tests.attacks.conftest import LinearModel
from tfdefense.attacks import APGDCE, APGDDLR, APGDT, PGD


def dlr_in_numpy(logits, label, target=None):
    ordered = np.sort(logits)[::-1]
    if target is None:
        other = np.max(np.delete(logits, label))
        return -(logits[label] - other) / (ordered[0] - ordered[2] + 1e-12)
    spread = ordered[0] - (ordered[2] + ordered[3]) / 2 + 1e-12
    return -(logits[label] - logits[target]) / spread


def test_dlr_loss_is_the_formula_of_the_paper():
    logits = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    labels = np.arange(50, dtype=np.int32) % 6
    targets = (labels + 1) % 6
    found = APGDDLR().loss(tf.constant(labels), None)(tf.constant(logits))
    expected = [dlr_in_numpy(*row) for row in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    found = APGDDLR().loss(tf.constant(labels), tf.constant(targets))(tf.constant(logits))
    expected = [dlr_in_numpy(*row) for row in zip(logits, labels, targets, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_huge_logits_hide_the_gradient_of_cross_entropy_but_not_of_dlr(
    victim, victim_images, victim_labels
):
    """Section 4 of the paper."""

    def steep(images):
        return 1e4 * victim(images)

    with pytest.warns(UserWarning, match="gradient is zero"):
        hidden = APGDCE(epsilon=0.15, steps=20).run(steep, victim_images, victim_labels)
    dlr = APGDDLR(epsilon=0.15, steps=20)
    found = dlr.run(steep, victim_images, victim_labels)
    expected = dlr.run(victim, victim_images, victim_labels)
    np.testing.assert_array_equal(found.success, expected.success)
    assert np.mean(found.success) > np.mean(hidden.success)


def test_it_is_at_least_as_strong_as_pgd_at_the_same_cost(victim, victim_images, victim_labels):
    for epsilon in (0.1, 0.15, 0.2):
        pgd = PGD(epsilon=epsilon, steps=40, stop_at_success=True)
        apgd = APGDCE(epsilon=epsilon, steps=40)
        of_pgd = np.mean(pgd.run(victim, victim_images, victim_labels).success)
        of_apgd = np.mean(apgd.run(victim, victim_images, victim_labels).success)
        assert of_apgd >= of_pgd


def test_without_stop_at_success_the_loss_becomes_higher(victim, victim_images, victim_labels):
    def loss(attack):
        logits = victim(attack(victim, victim_images, victim_labels))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(victim_labels, logits)

    with_stop = loss(APGDCE(epsilon=0.2, steps=20))
    without_stop = loss(APGDCE(epsilon=0.2, steps=20, stop_at_success=False))
    assert np.mean(without_stop) > np.mean(with_stop)


def test_targeted_dlr_loss_needs_four_classes(linear_images):
    images, _ = linear_images
    three = LinearModel(classes=3)
    labels = np.argmax(three.numpy(images), 1).astype(np.int32)
    with pytest.raises(ValueError, match="apgd_t: a model of 3 classes given, at least 4 needed"):
        APGDT()(three, images, labels)
    with pytest.raises(ValueError, match=r"apgd_dlr: .* at least 4 needed for targets"):
        APGDDLR()(three, images, labels, (labels + 1) % 3)
    assert np.mean(APGDDLR(epsilon=0.3).run(three, images, labels).success) == 1
