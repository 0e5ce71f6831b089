"""Moves of the Square attack in the L2 ball."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.square_l2_moves import WindowMoves, add_initial_bumps, make_bump


@pytest.mark.parametrize("side", [3, 5, 8])
def test_bump_is_equation_2_of_the_paper(side):
    """eta_{r,s} is the sum of 1 / (k + 1)^2 over the rings k that reach (r, s) from the middle."""
    expected = np.zeros((side, side))
    for first, rows, sign in ((0, side // 2, 1), (side // 2, side - side // 2, -1)):
        for k in range(max(rows // 2, side // 2) + 1):
            for r in range(rows):
                for c in range(side):
                    if abs(r - rows // 2) <= k and abs(c - side // 2) <= k:
                        expected[first + r, c] += sign / (k + 1) ** 2
    np.testing.assert_allclose(make_bump(side), expected / np.linalg.norm(expected), rtol=1e-5)


def test_candidates_are_on_the_sphere_and_change_two_windows_only():
    images = tf.constant(np.full((6, 12, 12, 2), 0.5, np.float32))
    keys = per_image_random.image_keys(
        images + tf.random.stateless_uniform([6, 12, 12, 2], [0, 1]) / 100, 0
    )
    epsilon = tf.fill([6, 1, 1, 1], 0.7)
    best = add_initial_bumps(keys, images, epsilon)
    np.testing.assert_allclose(tf.norm(tf.reshape(best - images, [6, -1]), axis=1), 0.7, rtol=1e-5)
    moves = WindowMoves(np.array([3, 5, 12]), largest=12)
    for query, side in ((0, 3), (1, 5)):
        candidates = moves.candidates(keys, images, best, epsilon, tf.constant(query))
        perturbation = (candidates - images).numpy()
        np.testing.assert_allclose(
            np.linalg.norm(perturbation.reshape(6, -1), axis=1), 0.7, rtol=1e-5
        )
        # Up to a common factor, all but two windows are unchanged.
        before = (best - images).numpy()
        for image in range(6):
            ratio = perturbation[image] / np.where(before[image] == 0, np.inf, before[image])
            common = np.median(ratio[before[image] != 0])
            is_unchanged = np.isclose(perturbation[image], common * before[image], atol=1e-6).all(
                -1
            )
            assert 0 < np.sum(~is_unchanged) <= 2 * side**2
