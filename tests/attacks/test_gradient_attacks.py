"""FGSM, BIM, MIM, PGD: against closed forms, textbook loops in NumPy, and cleverhans."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

from tests.attacks.conftest import SHAPE
from tfdefense.attacks import APGDCE, BIM, FGSM, MIM, PGD, DeepFool, FGSMPredicted, Square
from tfdefense.attacks.core import norms


def test_fgsm_on_a_linear_model_is_the_closed_form(linear, linear_images):
    images, labels = linear_images
    slope = linear.gradient(images, labels)
    expected = np.clip(images + 0.2 * np.sign(slope), 0, 1)
    np.testing.assert_allclose(FGSM(epsilon=0.2)(linear, images, labels), expected, atol=1e-6)
    length = np.linalg.norm(slope.reshape(16, -1), axis=1)[:, None, None, None]
    expected = np.clip(images + 1.5 * slope / length, 0, 1)
    found = FGSM(epsilon=1.5, norm="l2")(linear, images, labels)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_fgsm_towards_a_target_descends(linear, linear_images):
    images, labels = linear_images
    targets = (labels + 1) % 5
    expected = np.clip(images - 0.1 * np.sign(linear.gradient(images, targets)), 0, 1)
    found = FGSM(epsilon=0.1)(linear, images, labels, targets)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_bim_is_the_textbook_loop(linear, linear_images):
    images, labels = linear_images
    expected = images
    for _ in range(6):
        expected = expected + 0.05 * np.sign(linear.gradient(expected, labels))
        expected = np.clip(np.clip(expected, images - 0.1, images + 0.1), 0, 1)
    attack = BIM(epsilon=0.1, steps=6, relative_step_size=0.5)
    np.testing.assert_allclose(attack(linear, images, labels), expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_bim_and_mim_are_cleverhans(norm, victim, victim_images, victim_labels):
    epsilon, order = (0.1, np.inf) if norm == "linf" else (1.0, 2)
    steps = {"steps": 6, "relative_step_size": 0.3, "norm": norm, "epsilon": epsilon}
    theirs = {
        "model_fn": victim,
        "x": tf.constant(victim_images),
        "eps": epsilon,
        "eps_iter": 0.3 * epsilon,
        "nb_iter": 6,
        "norm": order,
        "clip_min": 0.0,
        "clip_max": 1.0,
        "y": tf.constant(victim_labels),
        "sanity_checks": False,
    }
    if norm == "linf":  # In l2 theirs goes into the box before the ball, ours after it.
        bim = projected_gradient_descent(**theirs)
        found = BIM(**steps)(victim, victim_images, victim_labels)
        np.testing.assert_allclose(found, bim, atol=2e-5)
    mim = momentum_iterative_method(**theirs)
    found = MIM(**steps)(victim, victim_images, victim_labels)
    np.testing.assert_allclose(found, mim, atol=2e-5)


def test_mim_without_momentum_is_bim(victim, victim_images, victim_labels):
    bim = BIM(epsilon=0.1)(victim, victim_images, victim_labels)
    mim = MIM(epsilon=0.1, decay=0.0)(victim, victim_images, victim_labels)
    np.testing.assert_allclose(mim, bim, atol=1e-6)


def test_fgsm_predicted_ignores_the_labels(victim, victim_images, victim_labels):
    expected = FGSM(epsilon=0.1)(victim, victim_images, victim_labels)
    wrong = (victim_labels + 1) % 5
    found = FGSMPredicted(epsilon=0.1)(victim, victim_images, wrong)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("attack", [FGSM, BIM, PGD, APGDCE, Square], ids=lambda a: a.name)
def test_epsilon_may_differ_from_image_to_image(attack, victim, victim_images, victim_labels):
    epsilon = np.linspace(0, 0.4, 20, dtype=np.float32)
    options = {"queries": 50} if attack is Square else {}
    options |= {"steps": 5, "relative_step_size": 0.5} if attack in (BIM, PGD) else {}
    mixed = attack(epsilon=tf.constant(epsilon[:, None, None, None]), **options)
    found = mixed(victim, victim_images, victim_labels).numpy()
    moved = np.abs(found - victim_images).max(axis=(1, 2, 3))
    np.testing.assert_array_less(moved, epsilon + 1e-6)
    for index in (5, 19):
        alone = attack(epsilon=float(epsilon[index]), **options)
        one = alone(victim, victim_images[index : index + 1], victim_labels[index : index + 1])
        np.testing.assert_allclose(found[index], one[0], atol=2e-5)


def test_pgd_repeats_itself_and_follows_its_seed(victim, victim_images, victim_labels):
    def run(seed):
        return PGD(epsilon=0.1, steps=2, seed=seed)(victim, victim_images, victim_labels)

    np.testing.assert_array_equal(run(0), run(0))
    assert np.abs(run(0) - run(1)).max() > 0


def test_more_restarts_are_never_weaker(victim, victim_images, victim_labels):
    def outcome(restarts):
        attack = PGD(epsilon=0.15, steps=3, restarts=restarts)
        logits = victim(attack(victim, victim_images, victim_labels))
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(victim_labels, logits).numpy()
        return np.argmax(logits, 1) != victim_labels, loss

    (one_fell, one), (four_fell, four) = outcome(1), outcome(4)
    assert np.all(four_fell >= one_fell)
    same = one_fell == four_fell
    assert np.all(four[same] >= one[same] - 1e-5)
    assert four.mean() > one.mean()


def test_stopping_at_success_keeps_every_success(victim, victim_images, victim_labels):
    """An iterate that fools is kept, so this can only leave fewer images standing."""
    plain = BIM(epsilon=0.4, steps=10, relative_step_size=1.0)
    stopping = dataclasses.replace(plain, stop_at_success=True)
    fell = plain.run(victim, victim_images, victim_labels).success.numpy()
    stopped = stopping.run(victim, victim_images, victim_labels).success.numpy()
    assert np.all(stopped >= fell)
    assert stopped.any()


@pytest.mark.parametrize("attack", [BIM(), MIM(), PGD(), APGDCE(), Square(queries=300)], ids=repr)
def test_accuracy_falls_to_zero_as_epsilon_grows(attack, victim, victim_images, victim_labels):
    curve = []
    for epsilon in (0.0, 0.1, 0.3, 1.0):
        result = dataclasses.replace(attack, epsilon=epsilon).run(
            victim, victim_images, victim_labels
        )
        curve.append(1 - np.mean(result.success))
    assert curve[0] == 1
    assert curve[-1] == 0
    assert curve == sorted(curve, reverse=True)


@pytest.mark.parametrize(
    ("attack", "field"),
    [(BIM(epsilon=0.15), "steps"), (APGDCE(epsilon=0.15), "steps"), (DeepFool(), "steps")],
    ids=repr,
)
def test_more_iterations_are_never_weaker(attack, field, victim, victim_images, victim_labels):
    fell = []
    for steps in (1, 4, 16):
        changed = dataclasses.replace(attack, **{field: steps})
        if hasattr(attack, "stop_at_success"):
            changed = dataclasses.replace(changed, stop_at_success=True)
        fell.append(np.mean(changed.run(victim, victim_images, victim_labels).success))
    assert fell == sorted(fell)
    assert fell[-1] > fell[0]


@pytest.mark.parametrize(
    "attack",
    [
        FGSM(epsilon=3.0, norm="l2"),
        BIM(epsilon=3.0, norm="l2", steps=10),
        PGD(epsilon=3.0, norm="l2", steps=10),
        APGDCE(epsilon=3.0, norm="l2", steps=10),
    ],
    ids=lambda attack: attack.name,
)
@pytest.mark.parametrize("confidence", [1.0, 20.0, 40.0])
def test_a_confident_model_is_no_harder_in_l2(attack, confidence):
    """Its gradients are tiny, and lead where those of the same model without its confidence do."""
    rng = np.random.default_rng(0)
    weights = tf.constant(rng.standard_normal(200), tf.float32)
    images = 0.5 + 0.01 * rng.standard_normal((6, *SHAPE)).astype(np.float32)

    def model(given):
        flat = tf.reshape(given - 0.5, [-1, 200])
        # So far from the boundary, in L2.
        ahead = tf.linalg.matvec(flat, weights) / tf.norm(weights) - 0.5
        return confidence * tf.stack([-ahead, ahead], axis=-1)

    result = attack.run(model, images, np.zeros(6, np.int32))
    assert not np.asarray(result.no_gradient).any()
    assert np.asarray(result.success).all()


def test_the_steepest_step_has_its_length_however_small_the_gradient():
    rng = np.random.default_rng(0)
    slope = rng.standard_normal((2, *SHAPE)).astype(np.float32)
    for scale in (1.0, 1e-7, 1e-30):
        step = norms.steepest_direction(tf.constant(slope * np.float32(scale)), "l2")
        expected = slope / np.linalg.norm(slope.reshape(2, -1), axis=1)[:, None, None, None]
        np.testing.assert_allclose(step, expected, rtol=1e-4, atol=1e-6)
    assert not np.any(norms.steepest_direction(tf.zeros((2, *SHAPE)), "l2"))
