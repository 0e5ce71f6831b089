"""JSMA against the algorithm of the paper."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import JSMA


def output_gradients(model, image, target, saliency):
    x = tf.constant(image[None])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        logits = model(x)[0]
        outputs = tf.nn.softmax(logits) if saliency == "probabilities" else logits
        of_target = outputs[target]
        others = tf.reduce_sum(outputs) - of_target
    a, b = (
        tape.gradient(value, x).numpy().astype(np.float64).ravel() for value in (of_target, others)
    )
    return int(np.argmax(logits)), a, b


def jsma_in_numpy(model, image, target, attack):
    """Run algorithm 3 of the paper on one image, with a table of all pairs."""
    theta, gamma, saliency = attack.theta, attack.gamma, attack.saliency
    x, sign = image.copy(), np.sign(theta)
    size = x.size
    while True:
        predicted, a, b = output_gradients(model, x, target, saliency)
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


@pytest.mark.slow
@pytest.mark.parametrize("saliency", ["probabilities", "logits"])
@pytest.mark.parametrize("theta", [0.5, -0.5])
def test_it_is_the_algorithm_of_the_paper(theta, saliency, victim, victim_images, victim_labels):
    targets = (victim_labels + 2) % 5
    attack = JSMA(theta=theta, gamma=0.1, saliency=saliency)
    found = attack(victim, victim_images, victim_labels, targets).numpy()
    for index in (0, 8):
        expected = jsma_in_numpy(victim, victim_images[index], targets[index], attack)
        np.testing.assert_allclose(found[index], expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("theta", [1.0, 0.3, -0.3])
@pytest.mark.parametrize("gamma", [0.05, 0.2])
def test_changed_values_stay_within_gamma_and_have_the_sign_of_theta(
    theta, gamma, victim, victim_images, victim_labels
):
    found = JSMA(theta=theta, gamma=gamma)(victim, victim_images, victim_labels).numpy()
    changed = (found != victim_images).reshape(20, -1).sum(1)
    assert changed.max() <= gamma * 200
    assert changed.min() >= 2
    assert np.all((found - victim_images) * np.sign(theta) >= 0)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("theta", [1.0, 0.5])
def test_the_largest_cost_is_that_of_an_image_that_withstands(theta):
    """No image of a model with a constant lead is ever fooled."""
    attack = JSMA(theta=theta, gamma=0.5)
    weights = tf.constant(np.random.default_rng(0).normal(size=(32, 3)), tf.float32)

    def model(images):
        return tf.reshape(images, [-1, 32]) @ weights + [1e3, 0.0, 0.0]

    images = np.full((2, 4, 4, 2), 0.25, np.float32)
    result = attack.run(model, images, np.zeros(2, np.int32))
    cost = attack.largest_cost((4, 4, 2), 3)
    assert cost.gradients / 2 < np.asarray(result.gradients).max() <= cost.gradients
