"""JSMA: the pair search against all pairs, the attack against the textbook's loop."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import JSMA
from tfdefense.attacks.jsma import most_salient_pair


def best_by_hand(towards, away, free):
    """The highest product among all admissible pairs, 0 if there is none."""
    best = 0.0
    for i in range(len(towards)):
        for j in range(i):
            a, c = towards[i] + towards[j], away[i] + away[j]
            if free[i] and free[j] and a > 0 and c > 0:
                best = max(best, a * c)
    return best


@pytest.mark.parametrize("correlation", [-0.99, -0.5, 0.0, 0.8])
def test_no_pair_is_better_than_the_one_found(correlation):
    rng = np.random.default_rng(0)
    towards = rng.normal(size=(30, 40)).astype(np.float32)
    noise = rng.normal(size=(30, 40)).astype(np.float32)
    away = (correlation * towards + np.sqrt(1 - correlation**2) * noise).astype(np.float32)
    free = rng.random((30, 40)) < 0.7
    pairs = most_salient_pair(*map(tf.constant, (towards, away, free))).numpy()
    for row, (i, j) in enumerate(pairs):
        expected = best_by_hand(towards[row], away[row], free[row])
        if expected > 0:
            assert i != j
            assert free[row, i]
            assert free[row, j]
            found = (towards[row, i] + towards[row, j]) * (away[row, i] + away[row, j])
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_ties_and_repeated_values_keep_a_pair():
    ones = tf.ones([3, 6])
    pairs = most_salient_pair(ones, ones, ones > 0).numpy()
    assert np.all(pairs[:, 0] != pairs[:, 1])


def test_without_an_admissible_pair_the_highest_sum_is_taken():
    towards, away = tf.constant([[3.0, -1.0, 2.0, -4.0]]), tf.constant([[-6.0, -1.0, -3.0, -1.0]])
    pair = most_salient_pair(towards, away, tf.ones([1, 4], tf.bool))
    assert set(pair.numpy()[0]) == {1, 2}


def slopes(model, image, target, saliency):
    x = tf.constant(image[None])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        logits = model(x)[0]
        outputs = tf.nn.softmax(logits) if saliency == "probabilities" else logits
        wanted = outputs[target]
        others = tf.reduce_sum(outputs) - wanted
    a, b = (
        tape.gradient(value, x).numpy().astype(np.float64).ravel() for value in (wanted, others)
    )
    return int(np.argmax(logits)), a, b


def textbook(model, image, target, theta, gamma, saliency):
    """Algorithm 3 of the paper, all pairs of one image at a time."""
    x, sign = image.copy(), np.sign(theta)
    size = x.size
    while True:
        predicted, a, b = slopes(model, x, target, saliency)
        if predicted == target or np.sum(x != image) + 2 > gamma * size:
            return x
        a, c, flat = sign * a, -sign * b, x.ravel()
        free = flat < 1 if theta > 0 else flat > 0
        sums_a, sums_c = np.add.outer(a, a), np.add.outer(c, c)
        allowed = np.outer(free, free) & ~np.eye(size, dtype=bool) & (sums_a > 0) & (sums_c > 0)
        i, j = np.unravel_index(np.argmax(np.where(allowed, sums_a * sums_c, 0)), (size, size))
        assert allowed[i, j], "the paper's algorithm ends here; choose another example"
        flat = flat.copy()
        flat[[i, j]] = np.clip(flat[[i, j]] + theta, 0, 1)
        x = flat.reshape(x.shape).astype(np.float32)


@pytest.mark.parametrize("saliency", ["probabilities", "logits"])
@pytest.mark.parametrize("theta", [0.5, -0.5])
def test_is_the_textbook_loop(theta, saliency, victim, victim_images, victim_labels):
    targets = (victim_labels + 2) % 5
    attack = JSMA(theta=theta, gamma=0.1, saliency=saliency)
    found = attack(victim, victim_images, victim_labels, targets).numpy()
    for index in (0, 8):
        expected = textbook(victim, victim_images[index], targets[index], theta, 0.1, saliency)
        np.testing.assert_allclose(found[index], expected, atol=1e-6)


@pytest.mark.parametrize("theta", [1.0, 0.3, -0.3])
@pytest.mark.parametrize("gamma", [0.05, 0.2])
def test_keeps_within_gamma_and_goes_one_way(theta, gamma, victim, victim_images, victim_labels):
    found = JSMA(theta=theta, gamma=gamma)(victim, victim_images, victim_labels).numpy()
    changed = (found != victim_images).reshape(20, -1).sum(1)
    assert changed.max() <= gamma * 200
    assert changed.min() >= 2
    assert np.all((found - victim_images) * np.sign(theta) >= 0)


def test_targets_are_random_repeatable_and_never_the_label(victim, victim_images, victim_labels):
    first = JSMA(seed=1).run(victim, victim_images, victim_labels).targets.numpy()
    again = JSMA(seed=1).run(victim, victim_images, victim_labels).targets.numpy()
    other = JSMA(seed=2).run(victim, victim_images, victim_labels).targets.numpy()
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert np.all(first != victim_labels)
    assert len(set((first - victim_labels) % 5)) == 4
    logits = victim(victim_images).numpy()
    least = JSMA(targets="least_likely").run(victim, victim_images, victim_labels).targets
    np.testing.assert_array_equal(least, logits.argmin(1))
    second = JSMA(targets="second").run(victim, victim_images, victim_labels).targets
    np.testing.assert_array_equal(second, np.argsort(logits, 1)[:, -2])
