"""APGD: the paper's checkpoints, losses and halving rule."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import APGDCE, APGDDLR, APGDT, PGD
from tfdefense.attacks.core.auto_pgd import Climb, checkpoints, halve_where_stuck


def test_checkpoints_are_those_of_the_paper():
    """p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)."""
    shares = [0, 22]
    while shares[-1] < 100:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 3, 6))
    ends = [index + 1 for index, window in enumerate(checkpoints(100)) if window]
    assert ends == [share for share in shares[1:] if share <= 100]


def test_windows_cover_any_number_of_steps():
    for steps in (1, 2, 5, 17, 250):
        windows = checkpoints(steps)
        assert len(windows) == steps
        assert sum(windows) <= steps


def by_hand(logits, label, target=None):
    ordered = np.sort(logits)[::-1]
    if target is None:
        other = np.max(np.delete(logits, label))
        return -(logits[label] - other) / (ordered[0] - ordered[2] + 1e-12)
    spread = ordered[0] - (ordered[2] + ordered[3]) / 2 + 1e-12
    return -(logits[label] - logits[target]) / spread


def test_dlr_is_the_formula():
    logits = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    labels = np.arange(50, dtype=np.int32) % 6
    targets = (labels + 1) % 6
    found = APGDDLR().loss(tf.constant(labels), None)(tf.constant(logits))
    expected = [by_hand(*row) for row in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    found = APGDDLR().loss(tf.constant(labels), tf.constant(targets))(tf.constant(logits))
    expected = [by_hand(*row) for row in zip(logits, labels, targets, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_dlr_does_not_mind_huge_logits_and_cross_entropy_does(victim, victim_images, victim_labels):
    """The trick that hides gradients: section 4 of the paper."""

    def steep(images):
        return 1e4 * victim(images)

    blind = APGDCE(epsilon=0.15, steps=20)
    with pytest.warns(UserWarning, match="gradient is zero"):
        hidden = blind.run(steep, victim_images, victim_labels)
    seen = APGDDLR(epsilon=0.15, steps=20).run(steep, victim_images, victim_labels)
    plain = APGDDLR(epsilon=0.15, steps=20).run(victim, victim_images, victim_labels)
    np.testing.assert_array_equal(seen.success, plain.success)
    assert np.mean(seen.success) > np.mean(hidden.success)


def state_of(increases, was_halved, loss_at_checkpoint, best_loss):
    count = len(increases)
    point = tf.zeros([count, 1, 1, 1])
    numbers = tf.zeros([count])
    return Climb(
        point=point,
        previous=point,
        slope=point,
        loss=numbers,
        best=point + 7,
        best_slope=point + 3,
        best_loss=tf.constant(best_loss),
        result=point,
        result_loss=numbers,
        fell=numbers > 0,
        step_size=point + 1,
        increases=tf.constant(increases),
        was_halved=tf.constant(was_halved),
        loss_at_checkpoint=tf.constant(loss_at_checkpoint),
        gradients=tf.zeros([count], tf.int32),
    )


def test_step_is_halved_where_the_loss_oscillates_or_stands_still():
    state = state_of(
        increases=[7, 8, 8, 8],
        was_halved=[True, True, False, False],
        loss_at_checkpoint=[1.0, 1.0, 1.0, 1.0],
        best_loss=[2.0, 1.0, 1.0, 2.0],
    )
    after = halve_where_stuck(state, tf.constant(10))
    # 7 of 10 is too few; no progress counts only where the step was not halved the last time.
    np.testing.assert_allclose(after.step_size[:, 0, 0, 0], [0.5, 1, 0.5, 1])
    np.testing.assert_allclose(after.point[:, 0, 0, 0], [7, 0, 7, 0])
    np.testing.assert_allclose(after.slope[:, 0, 0, 0], [3, 0, 3, 0])
    np.testing.assert_array_equal(after.was_halved, [True, False, True, False])
    np.testing.assert_array_equal(after.increases, 0)


def test_is_at_least_as_strong_as_pgd_of_the_same_cost(victim, victim_images, victim_labels):
    for epsilon in (0.1, 0.15, 0.2):
        pgd = PGD(epsilon=epsilon, steps=40, stop_at_success=True)
        apgd = APGDCE(epsilon=epsilon, steps=40)
        weak = np.mean(pgd.run(victim, victim_images, victim_labels).success)
        strong = np.mean(apgd.run(victim, victim_images, victim_labels).success)
        assert strong >= weak


def test_going_on_after_success_raises_the_loss(victim, victim_images, victim_labels):
    def loss(attack):
        logits = victim(attack(victim, victim_images, victim_labels))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(victim_labels, logits)

    stopped = loss(APGDCE(epsilon=0.2, steps=20))
    gone_on = loss(APGDCE(epsilon=0.2, steps=20, stop_at_success=False))
    assert np.mean(gone_on) > np.mean(stopped)


def test_targets_need_four_classes(linear_images):
    from tests.attacks.conftest import Linear

    images, _ = linear_images
    three = Linear(classes=3)
    labels = np.argmax(three.numpy(images), 1).astype(np.int32)
    with pytest.raises(ValueError, match="apgd_t: a model of 3 classes given, at least 4 needed"):
        APGDT()(three, images, labels)
    assert np.mean(APGDDLR(epsilon=0.3).run(three, images, labels).success) == 1
