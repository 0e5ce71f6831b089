"""Perturbations of minimal-norm attacks against closed forms on a linear model."""

import functools

import numpy as np
import pytest

from tests.attacks.conftest import LinearModel
from tfdefense.attacks import FABT, JSMA, CarliniWagnerL2, DeepFool

LARGEST_RATIO = 1.25
SHAPES = [(6, 6, 1), (5, 5, 3), (4, 9, 2)]  # Grey, colour, not square.
ATTACKS = [
    FABT(norm="linf"),
    FABT(norm="l2"),
    DeepFool(norm="linf"),
    DeepFool(norm="l2"),
    CarliniWagnerL2(),
    CarliniWagnerL2(box="tanh"),
]
# DeepFool ignores the box. The tanh of C&W is flat at black and white pixels.
ATTACKS_IN_BOX = [FABT(norm="linf"), FABT(norm="l2"), CarliniWagnerL2()]


@functools.cache
def make_model(shape, classes=4, scale=1.0):
    """Return one model per shape, so that each attack is compiled once for all batch sizes."""
    model = LinearModel(shape, classes)
    model.weights *= scale
    model.bias *= scale
    return model


def make_images(model, shape, contrast):
    """Return 8 images and their predicted classes; a contrast above 1 gives black and white pixels.

    The first images are the closest to grey, and so to a class boundary. With this seed the
    smallest distance is over 1e-4, which float32 logits resolve well.
    """
    noise = np.random.default_rng(10).random((8, *shape)) - 0.5
    contrasts = contrast * np.geomspace(0.05, 1, 8)[:, None, None, None]
    images = np.clip(0.5 + contrasts * noise, 0, 1).astype(np.float32)
    return images, np.argmax(model.numpy(images), 1).astype(np.int32)


def distance_in_box(model, image, label, norm):
    """Return the norm of the smallest perturbation within [0, 1] that reaches another class.

    At the optimum every value moves at the same speed ("linf"), or at a speed proportional to its
    weight ("l2"), until it is black or white. The duration is found by bisection.
    """
    weights, flat = model.weights.numpy().astype(np.float64), image.ravel().astype(np.float64)
    logits = model.numpy(image[None])[0]
    smallest = np.inf
    for other in set(range(len(logits))) - {int(label)}:
        slope = weights[:, other] - weights[:, label]
        room = np.where(slope > 0, 1 - flat, flat)
        speed = np.abs(slope) if norm == "l2" else np.ones_like(slope)

        def move(duration, room=room, speed=speed):
            return np.minimum(duration * speed, room)

        shortest, longest = 0.0, 1 / np.abs(speed).min()
        if move(longest) @ np.abs(slope) < logits[label] - logits[other]:
            continue  # No point of the box is in this class.
        for _ in range(100):
            middle = (shortest + longest) / 2
            if move(middle) @ np.abs(slope) < logits[label] - logits[other]:
                shortest = middle
            else:
                longest = middle
        smallest = min(smallest, np.linalg.norm(move(longest), np.inf if norm == "linf" else 2))
    return smallest


def check_ratio(attack, model, images, labels):
    norm = getattr(attack, "norm", "l2")
    result = attack.run(model, images, labels)
    assert np.asarray(result.success).all()
    expected = [distance_in_box(model, *pair, norm) for pair in zip(images, labels, strict=True)]
    ratio = np.asarray(getattr(result, norm)) / expected
    assert ratio.max() <= LARGEST_RATIO
    assert ratio.min() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_batch_of_images_of_any_shape_stays_near_the_closed_form(attack, shape):
    model = make_model(shape)
    images, labels = make_images(model, shape, contrast=0.5)
    for rows in (slice(8), slice(3), slice(7, 8)):
        check_ratio(attack, model, images[rows], labels[rows])


@pytest.mark.parametrize("attack", ATTACKS_IN_BOX, ids=repr)
def test_black_and_white_pixels_are_no_obstacle(attack):
    model = make_model(SHAPES[1])
    check_ratio(attack, model, *make_images(model, SHAPES[1], contrast=3))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.001, 1000.0])
@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_the_scale_of_the_logits_does_not_matter(attack, scale):
    model = make_model(SHAPES[0], scale=scale)
    check_ratio(attack, model, *make_images(model, SHAPES[0], contrast=0.5))


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_jsma_changes_the_fewest_values_between_two_classes(shape):
    """The fewest are those of the largest weights, if all can rise by the same amount."""
    model = make_model(shape, classes=2)
    slope = (model.weights[:, 1] - model.weights[:, 0]).numpy()
    depths = np.linspace(0.02, 0.12, 8)[:, None]
    images = (0.5 - depths * np.sign(slope)).reshape(8, *shape).astype(np.float32)
    labels, targets = np.zeros(8, np.int32), np.ones(8, np.int32)
    logits = model.numpy(images)
    gains = (0.5 + depths) * np.sort(np.maximum(slope, 0))[::-1]
    lead = logits[:, :1] - logits[:, 1:]
    fewest = 1 + np.sum(np.cumsum(gains, axis=1) < lead, axis=1)
    for rows in (slice(8), slice(3), slice(7, 8)):
        result = JSMA(gamma=1.0).run(model, images[rows], labels[rows], targets[rows])
        changed = np.sum(result.images != images[rows], axis=(1, 2, 3))
        assert np.asarray(result.success).all()
        # Values change in pairs.
        np.testing.assert_array_equal(changed, fewest[rows] + fewest[rows] % 2)
