import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import FGSM
from tfdefense.defenses.core.adversarial_pairs import (
    apply_fgsm,
    draw_adversarial,
    make_fgsm_pairs,
    require_pair_weights,
)
from tfdefense.errors import UserError
from tfdefense.training import Replica
from tfdefense.training.frozen_networks import infer_fast


def test_pairs_give_fgsm_examples_of_any_strength(toy_model, toy_split):
    pairs = make_fgsm_pairs(toy_model, toy_split)
    assert pairs["direction"].dtype == np.int8
    for epsilon in (0.0, 0.1, 0.5):
        expected = FGSM(epsilon=epsilon)(toy_model, toy_split.images, toy_split.labels)
        np.testing.assert_allclose(apply_fgsm(pairs, tf.constant(epsilon)), expected, atol=1e-6)


def test_bfloat16_changes_few_directions(toy_model, toy_split):
    exact = make_fgsm_pairs(toy_model, toy_split)["direction"]
    with infer_fast([toy_model], "bfloat16"):
        fast = make_fgsm_pairs(toy_model, toy_split)["direction"]
    assert 0.9 < np.mean(exact == fast) < 1


def test_strengths_may_differ_within_a_batch(toy_model, toy_split):
    pairs = make_fgsm_pairs(toy_model, toy_split)
    strengths = np.linspace(0, 1, len(toy_split), dtype=np.float32)
    moved = np.abs(apply_fgsm(pairs, strengths) - toy_split.images).max(axis=(1, 2, 3))
    assert np.all(moved <= strengths + 1e-6)
    assert moved[-1] > 0.5


def test_each_image_draws_one_stored_attack_anew_in_each_step():
    batch = {f"adversarial_{i}": tf.fill([60, 2, 2, 1], float(i)) for i in range(3)}

    def draw(step):
        replica = Replica(0, tf.constant(step, tf.int64), 60)
        return draw_adversarial(batch, (0.1,), replica).numpy()

    first = draw(0)
    assert first.shape == (60, 2, 2, 1)
    assert set(first[:, 0, 0, 0]) == {0.0, 1.0, 2.0}
    np.testing.assert_array_equal(first, draw(0))
    assert np.any(first != draw(1))


def draw_from(count, weights, images=1_200, step=0):
    """Return the number of the dataset that each image was drawn from."""
    batch = {f"adversarial_{i}": tf.fill([images, 1, 1, 1], float(i)) for i in range(count)}
    replica = Replica(0, tf.constant(step, tf.int64), images)
    return draw_adversarial(batch, (0.1,), replica, weights).numpy()[:, 0, 0, 0]


def test_weights_are_the_shares_of_the_datasets():
    drawn = draw_from(3, (2.0, 0.0, 1.0))
    counts = [int(np.sum(drawn == index)) for index in range(3)]
    assert counts[1] == 0
    assert abs(counts[0] - 800) < 100
    np.testing.assert_array_equal(drawn, draw_from(3, (2.0, 0.0, 1.0)))
    assert np.any(drawn != draw_from(3, (2.0, 0.0, 1.0), step=1))


def test_equal_weights_draw_as_no_weights_do():
    for count in (2, 3, 12):
        expected = draw_from(count, None)
        np.testing.assert_array_equal(draw_from(count, (0.7,) * count), expected)


def test_each_of_many_datasets_has_its_own_weight():
    weights = [0.0] * 12
    weights[10] = weights[2] = 1.0
    assert set(draw_from(12, weights)) == {2.0, 10.0}


@pytest.mark.parametrize(
    ("weights", "count", "message"),
    [
        ((2.0, 1.0), 0, "--pair_weights=2,1: only with --pairs=DIR,DIR"),
        ((2.0, 1.0), 3, "--pair_weights=2,1: 2 weights for the 3 directories of --pairs; one for"),
        ((), 2, "--pair_weights=: 0 weights for the 2 directories"),
        ((-1.0, 2.0), 2, "--pair_weights=-1,2: weights of 0 or more are needed, and one above 0"),
        ((0.0, 0.0), 2, "--pair_weights=0,0: weights of 0 or more"),
        ((float("nan"), 1.0), 2, "--pair_weights=nan,1: weights of 0 or more"),
        ((float("inf"), 1.0), 2, "--pair_weights=inf,1: weights of 0 or more"),
    ],
)
def test_unsuitable_weights_are_refused(weights, count, message):
    with pytest.raises(UserError) as error:
        require_pair_weights(weights, count)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
