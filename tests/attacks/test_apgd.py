"""Auto-PGD: the losses of the paper, and its strength."""

import numpy as np
import pytest
import tensorflow as tf

from tests.attacks.conftest import LinearModel
from tfdefense.attacks import APGDCE, APGDDLR, APGDT, PGD, apgd
from tfdefense.attacks.core.auto_pgd import AscentBatch, AutoPGDConfig, run_auto_pgd

STEPS = 40
SHRINKAGE, SHORTEST_WINDOW = int(0.03 * STEPS), int(0.06 * STEPS)


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


def apgd_in_numpy(loss_and_gradient, images, start, epsilon, norm):
    """Run the published code of APGD, image by image in its checkpoints; return the highest losses.

    At the first checkpoint it compares the first loss with the last row of a table that is still
    zero, in place of the loss at the start.
    """

    def normalize(array):
        return array / np.sqrt(np.sum(array**2, axis=(1, 2, 3), keepdims=True) + 1e-24)

    def project(points):
        change = points - images
        if norm == "linf":
            change = np.clip(change, -epsilon, epsilon)
        else:
            length = np.sqrt(np.sum(change**2, axis=(1, 2, 3), keepdims=True))
            change = normalize(change) * np.minimum(epsilon, length)
        return np.clip(images + change, 0, 1)

    table = np.zeros((STEPS, len(images)))
    x = previous = best = np.clip(start, 0, 1)
    best_loss, gradient = loss_and_gradient(x)
    best_gradient, at_checkpoint = gradient, best_loss
    was_halved = np.ones(len(images), bool)
    step_size = np.full((len(images), 1, 1, 1), 2 * epsilon)
    window, counter = max(int(0.22 * STEPS), 1), 0
    for i in range(STEPS):
        a = 0.75 if i > 0 else 1.0
        direction = np.sign(gradient) if norm == "linf" else normalize(gradient)
        ahead = project(x + step_size * direction)
        x, previous = project(x + a * (ahead - x) + (1 - a) * (x - previous)), x
        table[i], gradient = loss_and_gradient(x)
        higher = table[i] > best_loss
        best = np.where(higher[:, None, None, None], x, best)
        best_gradient = np.where(higher[:, None, None, None], gradient, best_gradient)
        best_loss = np.maximum(best_loss, table[i])
        counter += 1
        if counter == window:
            increases = sum(table[i - k] > table[i - k - 1] for k in range(window))
            stuck = increases <= 0.75 * window
            stuck |= ~was_halved & (at_checkpoint >= best_loss)
            was_halved, at_checkpoint = stuck, best_loss
            is_stuck = stuck[:, None, None, None]
            step_size = np.where(is_stuck, step_size / 2, step_size)
            x, gradient = np.where(is_stuck, best, x), np.where(is_stuck, best_gradient, gradient)
            window, counter = max(window - SHRINKAGE, SHORTEST_WINDOW), 0
    return best_loss


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", [APGDCE, APGDDLR], ids=lambda attack: attack.name)
def test_every_step_is_that_of_the_published_code(
    attack, norm, victim, victim_images, victim_labels
):
    epsilon = {"linf": 0.1, "l2": 1.5}[norm]
    noise = np.random.default_rng(0).uniform(-0.03, 0.03, victim_images.shape)
    start = (victim_images + noise).astype(np.float32)
    loss = attack().loss(victim_labels, None)

    @tf.function(autograph=False)
    def loss_and_gradient(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            losses = loss(victim(images))
        return losses, tape.gradient(losses, images)

    def in_numpy(images):
        found = loss_and_gradient(tf.constant(images, tf.float32))
        return [tensor.numpy().astype(np.float64) for tensor in found]

    epsilons = tf.fill([len(start), 1, 1, 1], epsilon)
    batch = AscentBatch(tf.constant(victim_images), victim_labels, None, None, epsilons)
    config = AutoPGDConfig(attack().loss, norm, STEPS, stop_at_success=False)
    found = tf.function(lambda: run_auto_pgd(victim, batch, start, config), autograph=False)()
    expected = apgd_in_numpy(in_numpy, victim_images, start, epsilon, norm)
    # The iterate of highest loss among the successful ones is that of highest loss of all.
    success = found.success.numpy()
    assert success.any()
    tolerance = np.where(success, 10, 1) * (1e-3 * np.abs(expected) + 1e-4)
    far = np.abs(found.score - expected) > tolerance
    # Rounding, which differs between processors, can move one image in 20 to another path.
    assert far.sum() <= 1
    np.testing.assert_allclose(found.score, expected, rtol=0.05)


@pytest.mark.slow
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


@pytest.mark.slow
def test_it_is_at_least_as_strong_as_pgd_at_the_same_cost(victim, victim_images, victim_labels):
    for epsilon in (0.1, 0.15, 0.2):
        pgd = PGD(epsilon=epsilon, steps=40, stop_at_success=True)
        apgd = APGDCE(epsilon=epsilon, steps=40)
        of_pgd = np.mean(pgd.run(victim, victim_images, victim_labels).success)
        of_apgd = np.mean(apgd.run(victim, victim_images, victim_labels).success)
        assert of_apgd >= of_pgd


@pytest.mark.slow
def test_without_stop_at_success_the_loss_becomes_higher(victim, victim_images, victim_labels):
    def loss(attack):
        logits = victim(attack(victim, victim_images, victim_labels))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(victim_labels, logits)

    with_stop = loss(APGDCE(epsilon=0.2, steps=20))
    without_stop = loss(APGDCE(epsilon=0.2, steps=20, stop_at_success=False))
    assert np.mean(without_stop) > np.mean(with_stop)


@pytest.mark.slow
def test_targeted_dlr_loss_needs_four_classes(linear_images):
    images, _ = linear_images
    three = LinearModel(classes=3)
    labels = np.argmax(three.numpy(images), 1).astype(np.int32)
    with pytest.raises(ValueError, match="apgd_t: a model of 3 classes given, at least 4 needed"):
        APGDT()(three, images, labels)
    with pytest.raises(ValueError, match=r"apgd_dlr: .* at least 4 needed for targets"):
        APGDDLR()(three, images, labels, (labels + 1) % 3)
    assert np.mean(APGDDLR(epsilon=0.3).run(three, images, labels).success) == 1


def test_below_four_classes_the_targeted_variant_uses_cross_entropy():
    options = {"epsilon": 0.2, "norm": "l2", "steps": 7, "restarts": 2, "stop_at_success": False}
    for attack in (APGDDLR(**options, seed=3), APGDT(**options, seed=3, target_classes=2)):
        assert attack.targeted_variant(3) == APGDCE(**options, seed=3)
        assert attack.targeted_variant(4) is attack


def test_every_restart_aims_at_every_target_class(linear, linear_images):
    attack = APGDT(epsilon=1e-4, steps=2, restarts=2, target_classes=3, stop_at_success=False)
    result = attack.run(linear, *linear_images)
    np.testing.assert_array_equal(result.gradients, 2 * 3 * (1 + 2))


def test_any_wrong_class_stops_an_untargeted_attack():
    """Class 1 is the target at the clean image, and class 2 is predicted at every other image."""

    def model(images):
        distance = tf.reduce_mean(tf.abs(images - 0.5), axis=[1, 2, 3])
        return tf.stack([0 * distance + 1, 0 * distance + 0.5, 1e3 * distance, distance - 5], 1)

    images = np.full((2, 4, 4, 1), 0.5, np.float32)
    attack = APGDT(epsilon=0.1, steps=5, target_classes=1)
    result = attack.run(model, images, np.zeros(2, np.int32))
    assert np.asarray(result.success).all()
    np.testing.assert_array_equal(result.gradients, 1)


@pytest.mark.slow
def test_each_target_class_has_a_start_of_its_own(linear, linear_images, monkeypatch):
    images, labels = linear_images
    starts = []

    def record(model, batch, start, config):
        tf.py_function(lambda pixels: starts.append(pixels.numpy()), [start], [])
        return run_auto_pgd(model, batch, start, config)

    monkeypatch.setattr(apgd, "run_auto_pgd", record)
    attack = APGDT(epsilon=1e-4, steps=1, target_classes=3, stop_at_success=False)
    attack(linear, images, labels)
    assert len(starts) == 3
    assert np.abs(starts[1] - starts[0]).max() > 1e-5
    assert np.abs(starts[2] - starts[1]).max() > 1e-5
