"""HopSkipJump: closed form, budget, starting points, and what it sees of the model."""

import itertools
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tests.attacks.conftest import CLASSES, CountingModel
from tfdefense.attacks import HopSkipJump
from tfdefense.attacks.hop_skip_jump import _HopSkipJumpBatch
from tfdefense.errors import UserError


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_on_a_linear_model_it_comes_near_the_closed_form(norm, linear, linear_images):
    images, labels = linear_images
    result = HopSkipJump(norm=norm, queries=3000).run(linear, images, labels)
    assert np.asarray(result.success).all()
    ratio = np.asarray(getattr(result, norm)) / linear.boundary_distances(images, labels, norm)
    assert ratio.min() > 0.999
    # The largest ratios are of images whose walk ended at the boundary of another class.
    assert np.median(ratio) < 1.25


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_restarts_find_the_nearest_class_of_a_linear_model(norm, linear, linear_images):
    images, labels = linear_images
    result = HopSkipJump(norm=norm, queries=25_000, restarts=4).run(linear, images, labels)
    ratio = np.asarray(getattr(result, norm)) / linear.boundary_distances(images, labels, norm)
    assert ratio.max() < 1.25


@pytest.mark.slow
def test_it_sees_only_the_predicted_class(victim, victim_images, victim_labels):
    def classes_only(images):
        return 7 * tf.one_hot(tf.argmax(victim(images), 1), CLASSES) - 3

    attack = HopSkipJump(norm="l2", queries=300)
    seen = attack(victim, victim_images, victim_labels)
    unseen = attack(classes_only, victim_images, victim_labels)
    np.testing.assert_allclose(seen, unseen, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("queries", [28, 333])
def test_queries_are_within_the_budget(queries, victim, victim_images, victim_labels):
    """The clean image is one more query. The smallest budget has one random image."""
    attack = HopSkipJump(queries=queries)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # One random image may have the class of the image.
        result = attack.run(victim, victim_images, victim_labels)
    assert np.asarray(result.success).all() == (queries > 28)
    assert np.asarray(result.queries).max() <= 1 + queries


@pytest.mark.slow
def test_more_queries_come_nearer(victim, victim_images, victim_labels):
    def distance(queries):
        attack = HopSkipJump(norm="l2", queries=queries)
        return np.mean(attack.run(victim, victim_images, victim_labels).l2)

    assert distance(2000) < distance(300) < distance(40)


@pytest.mark.slow
def test_a_radius_ends_the_walk_at_the_first_image_inside(victim, victim_images, victim_labels):
    def run(epsilon, queries=1000):
        attack = HopSkipJump(epsilon=epsilon, queries=queries)
        return attack.run(victim, victim_images, victim_labels)

    nearest, wide, narrow = run(None), run(0.4), run(0.02, queries=300)
    reached = np.asarray(nearest.linf) < 0.35
    assert reached.any()
    assert np.asarray(wide.success)[reached].all()
    assert np.asarray(wide.queries)[reached].mean() < np.asarray(nearest.queries)[reached].mean()
    assert np.asarray(narrow.linf).max() <= 0.02 + 1e-6
    assert not np.asarray(narrow.success).any()


@pytest.mark.slow
def test_an_image_without_a_starting_point_is_unchanged_and_counted(victim_images):
    """The model gives every image class 0, so images of class 0 have no starting point."""
    labels = (np.arange(20) % 4 > 0).astype(np.int32)
    model = CountingModel(
        lambda images: tf.stack([images[:, 0, 0, 0] + 1, 0 * images[:, 0, 0, 0]], 1)
    )
    with pytest.warns(UserWarning, match="no starting point for 5 of 20 images.*craft_from"):
        result = HopSkipJump(tries=7).run(model, victim_images, labels)
    np.testing.assert_array_equal(result.images, victim_images)
    np.testing.assert_array_equal(result.success, labels == 1)
    np.testing.assert_array_equal(result.queries, np.where(labels == 1, 1, 1 + 7))


def test_an_image_of_radius_0_needs_no_starting_point():
    """The model gives every image class 0, so no image has a starting point."""

    def one_class(images):
        return tf.stack([images[:, 0, 0, 0] + 1, 0 * images[:, 0, 0, 0]], 1)

    images, labels = np.full((2, 6, 6, 1), 0.5, np.float32), np.zeros(2, np.int32)
    radii = tf.reshape([0.0, 0.3], [2, 1, 1, 1])
    with pytest.warns(UserWarning, match="no starting point for 1 of 2 images"):
        HopSkipJump(epsilon=radii, queries=40, tries=2).run(one_class, images, labels)


@pytest.mark.slow
def test_random_images_in_blocks_find_what_noise_does_not(victim_images):
    """The model tells smooth images from noise, as classifiers of photographs do."""

    def smoothness(images):
        steps = tf.reduce_mean(tf.abs(images[:, 1:] - images[:, :-1]), axis=(1, 2, 3))
        return tf.stack([steps - 0.25, 0.25 - steps], 1)

    noise = np.random.default_rng(0).random((6, 10, 10, 2)).astype(np.float32)
    labels = np.zeros(6, np.int32)
    assert (np.argmax(smoothness(noise), 1) == labels).all()
    result = HopSkipJump(norm="l2", queries=200).run(smoothness, noise, labels)
    assert np.asarray(result.success).all()


@pytest.mark.slow
def test_given_starting_points_replace_random_images(victim, victim_images, victim_labels):
    attack = HopSkipJump(norm="l2", queries=500)
    starts = tf.constant(np.roll(victim_images, 1, axis=0))
    batch = tf.constant(victim_images), tf.constant(victim_labels), None
    found = tf.function(lambda: attack.craft_from(victim, batch, starts))()
    assert (np.argmax(victim(found.images), 1) != victim_labels).all()
    moved = np.linalg.norm((found.images - victim_images).numpy().reshape(20, -1), axis=1)
    apart = np.linalg.norm((starts - victim_images).numpy().reshape(20, -1), axis=1)
    assert (moved < apart).all()
    assert np.asarray(found.queries).max() <= 501
    # A starting point of the label's own class is none.
    same = tf.function(lambda: attack.craft_from(victim, batch, tf.constant(victim_images)))()
    np.testing.assert_array_equal(same.images, victim_images)
    np.testing.assert_array_equal(same.queries, 2)


@pytest.mark.slow
def test_seeds_give_other_images(victim, victim_images, victim_labels):
    first, again, other = (
        HopSkipJump(norm="l2", queries=200, seed=seed)(victim, victim_images, victim_labels)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_too_few_queries_for_a_walk_are_an_error(linear, linear_images):
    images, labels = linear_images
    with pytest.raises(UserError, match=r"queries=8 given, at least \d+ needed for 2 walks"):
        HopSkipJump(queries=8, restarts=2)(linear, images, labels)
    with pytest.raises(UserError, match="queries=4 given, at least"):
        HopSkipJump(queries=4).craft_from(linear, (images, labels, None), images)
    with pytest.raises(UserError, match=r"starting points of shape .* needed"):
        HopSkipJump().craft_from(linear, (images, labels, None), images[:1])


def test_restarts_do_not_repeat_the_walks_of_other_seeds(victim_images, victim_labels):
    counts = tf.zeros(len(victim_images))
    batch = _HopSkipJumpBatch(victim_images, victim_labels, None, counts, counts > 0)
    keys = [batch.with_keys(*numbers).keys.numpy() for numbers in ((0, 0), (0, 1), (1, 0))]
    assert all(np.all(one != other) for one, other in itertools.combinations(keys, 2))
