"""Norms of perturbations: their mathematical properties, and agreement with NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.attacks.conftest import SHAPE
from tfdefense.attacks.core import norms

# One shape for all examples: TensorFlow compiles each operation once for it.
SMALL_SHAPE = (3, 4, 4, 2)
fast = settings(max_examples=30, deadline=None)
values = st.floats(-1, 1, width=32, allow_subnormal=False)
perturbations = arrays.arrays(np.float32, SMALL_SHAPE, elements=values)
norm_names = st.sampled_from(norms.NORMS)


def in_numpy(perturbation, norm):
    return np.linalg.norm(
        perturbation.reshape(len(perturbation), -1).astype(np.float64),
        ord=np.inf if norm == "linf" else 2,
        axis=1,
    )


@given(perturbations, norm_names)
@fast
def test_norms_agree_with_numpy(perturbation, norm):
    found = norms.lp_norm(tf.constant(perturbation), norm)
    np.testing.assert_allclose(found, in_numpy(perturbation, norm), rtol=1e-5, atol=1e-18)
    np.testing.assert_allclose(
        norms.l1(tf.constant(perturbation)),
        np.abs(perturbation).sum((1, 2, 3), dtype=np.float64),
        rtol=1e-5,
    )
    np.testing.assert_array_equal(
        norms.l0(tf.constant(perturbation)), np.any(perturbation != 0, axis=-1).sum((1, 2))
    )


@given(perturbations, perturbations, norm_names)
@fast
def test_triangle_inequality(first, second, norm):
    of_sum = norms.lp_norm(tf.constant(first + second), norm).numpy()
    bound = sum(norms.lp_norm(tf.constant(each), norm).numpy() for each in (first, second))
    assert np.all(of_sum <= bound * (1 + 1e-5) + 1e-18)


@given(perturbations, st.floats(-4, 4, width=32, allow_subnormal=False), norm_names)
@fast
def test_scaling_a_perturbation_scales_its_norm(perturbation, factor, norm):
    scaled = norms.lp_norm(tf.constant(np.float32(factor) * perturbation), norm)
    expected = abs(factor) * norms.lp_norm(tf.constant(perturbation), norm)
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-18)


@given(perturbations, norm_names)
@fast
def test_steepest_direction_has_norm_1_and_reaches_the_dual_norm(gradient, norm):
    direction = norms.steepest_direction(tf.constant(gradient), norm).numpy()
    is_zero = np.all(gradient == 0, axis=(1, 2, 3))
    np.testing.assert_allclose(in_numpy(direction, norm), np.where(is_zero, 0, 1), atol=1e-5)
    increase = np.sum(direction.astype(np.float64) * gradient, axis=(1, 2, 3))
    dual = norms.dual_norm(tf.constant(gradient), norm)
    np.testing.assert_allclose(increase, dual, rtol=1e-4, atol=1e-18)


def test_steepest_direction_does_not_depend_on_the_size_of_the_gradient():
    rng = np.random.default_rng(0)
    gradient = rng.standard_normal((2, *SHAPE)).astype(np.float32)
    for scale in (1.0, 1e-7, 1e-30):
        step = norms.steepest_direction(tf.constant(gradient * np.float32(scale)), "l2")
        length = np.linalg.norm(gradient.reshape(2, -1), axis=1)[:, None, None, None]
        np.testing.assert_allclose(step, gradient / length, rtol=1e-4, atol=1e-6)
    assert not np.any(norms.steepest_direction(tf.zeros((2, *SHAPE)), "l2"))


@pytest.mark.parametrize(
    ("shape", "norm", "expected"),
    [
        ((28, 28, 1), "linf", 0.3),
        ((32, 32, 3), "linf", 8 / 255),
        ((28, 28, 1), "l2", 1.5),
        ((32, 32, 3), "l2", 0.5),
    ],
)
def test_default_epsilon_depends_on_channels_and_norm(shape, norm, expected):
    assert norms.default_epsilon(shape, norm) == expected
