"""DeepFool against the closed form on a linear model and the algorithm of the paper on another."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import DeepFool


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_on_a_linear_model_one_step_reaches_the_nearest_boundary(norm, linear, linear_images):
    images, labels = linear_images
    result = DeepFool(norm=norm, overshoot=0.0).run(linear, images, labels)
    expected = linear.boundary_distances(images, labels, norm)
    beyond = np.clip(expected / 10, 1e-6, 1e-4)
    np.testing.assert_allclose(getattr(result, norm), expected + beyond, rtol=1e-3)
    assert np.asarray(result.success).all()
    np.testing.assert_array_equal(result.queries, 3)
    np.testing.assert_array_equal(result.gradients, 4)


def test_overshoot_lengthens_the_perturbation(linear, linear_images):
    images, labels = linear_images
    exact = DeepFool(overshoot=0.0).run(linear, images, labels).l2
    further = DeepFool(overshoot=0.5).run(linear, images, labels).l2
    np.testing.assert_allclose(further, 1.5 * exact, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_is_the_algorithm_of_the_paper(norm, victim, victim_images, victim_labels):
    found = DeepFool(norm=norm)(victim, victim_images, victim_labels).numpy()
    for index in (0, 7, 13):
        expected = deepfool_in_numpy(victim, victim_images[index], victim_labels[index], norm)
        np.testing.assert_allclose(found[index], expected, atol=1e-4)


def deepfool_in_numpy(model, image, label, norm, overshoot=0.02):
    """Run algorithm 2 of the paper on one image, one class at a time."""
    total, x = np.zeros_like(image), image
    for number in range(50):
        logits = model(x[None]).numpy()[0]
        if np.argmax(logits) != label:
            break
        best, step = np.inf, None
        for other in set(range(5)) - {int(label)}:
            w = logit_gradient(model, x, other) - logit_gradient(model, x, label)
            dual = np.sqrt(np.sum(w**2)) if norm == "l2" else np.abs(w).sum()
            distance = abs(logits[other] - logits[label]) / dual
            if distance < best:
                direction = w / dual if norm == "l2" else np.sign(w)
                beyond = np.clip(distance / 10, min(1e-6 * 2**number, 1e-4), 1e-4)
                best, step = distance, (distance + beyond) * direction
        total = total + step
        x = np.clip(image + (1 + overshoot) * total, 0, 1).astype(np.float32)
    return x


def test_an_image_whose_steps_are_clipped_crosses_the_boundary():
    """Every step has pixels that are black already, so that it covers a fifth of its way."""
    weights = tf.constant([[-2.0, 0.0], [1.0, 0.0]])

    def model(images):
        return tf.reshape(images, [-1, 2]) @ weights + [[0.0, 0.5]]

    images = np.array([0.0, 0.0], np.float32).reshape(1, 1, 2, 1)
    result = DeepFool(overshoot=0.0).run(model, images, [1])
    assert bool(result.success[0])
    np.testing.assert_allclose(result.l2, 0.5, atol=1e-3)


def logit_gradient(model, image, output):
    x = tf.constant(image[None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = model(x)[0, output]
    return tape.gradient(value, x).numpy()[0].astype(np.float64)


def test_candidates_are_the_most_likely_wrong_classes(linear, linear_images):
    images, labels = linear_images
    result = DeepFool(candidates=2, overshoot=0.01).run(linear, images, labels)
    second = np.argsort(linear.numpy(images), 1)[:, -2]
    np.testing.assert_array_equal(np.argmax(linear.numpy(result.images.numpy()), 1), second)
    np.testing.assert_array_equal(result.gradients, 1)


def test_a_gradient_whose_squares_underflow_has_a_length():
    """A length of 0 would move the image to a corner of [0, 1], a larger length not far enough."""
    scale = 1e-25

    def model(images):
        total = scale * tf.reduce_sum(images, axis=(1, 2, 3))
        return tf.stack([tf.fill(tf.shape(total), 0.6 * scale), total], axis=1)

    images = np.full((1, 1, 2, 1), 0.25, np.float32)
    result = DeepFool().run(model, images, [0])
    assert bool(result.success[0])
    np.testing.assert_allclose(result.l2, 0.1 / 2**0.5, rtol=0.05)
