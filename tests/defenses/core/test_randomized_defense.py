"""Fixed and fresh randomness of a defence, and the attack in expectation over it."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import BIM, FGSM, Expectation
from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.expectation import restart_draws
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import BitDepth, TotalVariation, compose, get_defense_class
from tfdefense.defenses.core.randomized_defense import RandomizedDefense
from tfdefense.defenses.core.rejecting_classifier import RejectingClassifier
from tfdefense.errors import UserError

SHAPE = (8, 8, 1)
RNG = np.random.default_rng(0)
IMAGES = tf.constant(RNG.random((6, *SHAPE), np.float32))
LABELS = np.arange(6) % 2
WEIGHTS = tf.constant(RNG.standard_normal(64).astype(np.float32))


def score(images):
    """Two logits whose difference is linear in the image and 0 for the grey image."""
    lead = tf.linalg.matvec(tf.reshape(images - 0.5, [-1, 64]), WEIGHTS)
    return tf.stack([lead, -lead], axis=-1)


@pytest.fixture(scope="module")
def defense():
    return TotalVariation(FrozenClassifier(score, SHAPE), iterations=3)


def draws_of(defense, count, stream=0):
    """Logits of the first `count` calls of a new pipeline, [count, N, 2]."""
    fresh = defense.defend_with_fresh_randomness(stream=stream)
    return np.array([fresh(IMAGES) for _ in range(count)])


@pytest.mark.slow
def test_a_fixed_pipeline_repeats_its_logits_and_a_fresh_one_draws_anew(defense):
    fixed, fresh = defense.defend(), defense.defend_with_fresh_randomness()
    np.testing.assert_array_equal(fixed(IMAGES), fixed(IMAGES))
    for call in (fresh, tf.function(fresh)):
        assert np.abs(call(IMAGES) - call(IMAGES)).max() > 0.01
    fresh.restart_draws()
    graph = tf.function(fresh)
    repeated = [graph(IMAGES) for _ in range(3)]
    np.testing.assert_allclose(repeated, draws_of(defense, 3), atol=1e-5)


def test_streams_have_different_draws(defense):
    first, second = draws_of(defense, 2), draws_of(defense, 2, stream=1)
    for one in first:
        for other in second:
            assert np.abs(one - other).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_an_expectation_has_a_new_draw_in_every_iteration_and_call(defense, compiled):
    expectation = Expectation(defense.defend_with_fresh_randomness(), 5)
    call = tf.function(expectation) if compiled else expectation
    draws = draws_of(defense, 10)
    np.testing.assert_allclose(call(IMAGES), draws[:5].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(call(IMAGES), draws[5:].mean(axis=0), atol=1e-5)
    assert np.abs(draws[:5].mean(axis=0) - draws[0]).max() > 0.01
    fixed = Expectation(defense.defend(), 5)
    np.testing.assert_allclose(fixed(IMAGES), defense.defend()(IMAGES), atol=1e-5)


def test_a_draw_of_an_image_does_not_depend_on_its_batch(defense):
    numbers = tf.constant([3, 3, 4, 4, 5, 5])
    together = defense.purify(IMAGES, numbers).numpy()
    for index, number in enumerate(numbers):
        alone = defense.purify(IMAGES[index : index + 1], number)
        np.testing.assert_allclose(together[index : index + 1], alone, atol=1e-6)
    assert not np.allclose(together[1], defense.purify(IMAGES, 4)[1])


@pytest.mark.slow
def test_an_attack_on_fresh_randomness_repeats_its_images(defense):
    attacked, attack = Expectation(defense.defend_with_fresh_randomness(), 2), BIM(steps=2)
    first = attack(attacked, IMAGES, LABELS)
    np.testing.assert_array_equal(attack(attacked, IMAGES, LABELS), first)
    alone = attack(attacked, IMAGES[4:5], LABELS[4:5])
    np.testing.assert_allclose(alone, first[4:5], atol=1e-6)


@pytest.mark.slow
def test_two_replicas_make_the_images_of_one(defense, two_replicas):
    attack = BIM(steps=2)
    one = attack(Expectation(defense.defend_with_fresh_randomness(), 2), IMAGES, LABELS)
    with two_replicas.scope():
        attacked = Expectation(defense.defend_with_fresh_randomness(), 2)
        two = attack(attacked, IMAGES, LABELS)
    np.testing.assert_allclose(two, one, atol=1e-6)


class WavyPurifier(RandomizedDefense):
    """Adds waves whose phases are random: small in value, steep, and flat in the mean over draws."""

    name = "wavy"
    config_type = dataclasses.make_dataclass("WavyConfig", [])

    def purify(self, images, draw=None):
        keys = per_image_random.image_keys(images, self.seed, draw)
        phases = 2 * np.pi * per_image_random.uniform(keys, list(SHAPE), stream=0)
        return images + 0.02 * tf.sin(images / 0.002 + phases)


@pytest.mark.slow
def test_eot_breaks_a_defence_that_fixed_gradients_do_not_break():
    """Of the linear score, FGSM needs epsilon = lead / |w|_1; it gets twice that."""
    defense = WavyPurifier(FrozenClassifier(score, SHAPE))
    leads = score(IMAGES)[:, 0]
    labels = tf.cast(leads < 0, tf.int32)
    epsilon = 2 * tf.abs(leads) / tf.reduce_sum(tf.abs(WEIGHTS))
    attack = FGSM(epsilon=tf.reshape(epsilon, [-1, 1, 1, 1]))
    fixed, fresh = defense.defend(), defense.defend_with_fresh_randomness()
    judge = Expectation(defense.defend_with_fresh_randomness(stream=1), 20)

    def fooled(attacked):
        return np.mean(tf.argmax(judge(attacked), -1, tf.int32) != labels)

    assert fooled(attack(fixed, IMAGES, labels)) <= 1 / 6
    assert fooled(attack(fresh, IMAGES, labels)) <= 1 / 6
    assert fooled(attack(Expectation(fresh, 400), IMAGES, labels)) >= 5 / 6


def test_a_composition_is_randomised_if_a_part_is(defense):
    bits = BitDepth(defense.classifier, bits=2)
    composition = compose([bits, defense])
    assert composition.is_randomized
    assert get_defense_class("bit_depth+total_variation").is_randomized
    expected = defense.purify(bits.purify(IMAGES), 7)
    np.testing.assert_array_equal(composition.purify(IMAGES, 7), expected)
    assert not get_defense_class("bit_depth+spatial_smoothing").is_randomized
    deterministic = get_defense_class("bit_depth+spatial_smoothing")(defense.classifier)
    with pytest.raises(UserError, match=r"bit_depth\+spatial_smoothing: draws no random numbers"):
        deterministic.defend_with_fresh_randomness()


def test_a_pipeline_with_its_detector_starts_its_draws_again(defense):
    fresh = defense.defend_with_fresh_randomness(stream=0)
    first, second = fresh(IMAGES), fresh(IMAGES)
    assert np.any(first != second)
    restart_draws(Expectation(RejectingClassifier(fresh), 2))
    np.testing.assert_array_equal(fresh(IMAGES), first)
