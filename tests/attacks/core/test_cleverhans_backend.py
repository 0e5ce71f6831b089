"""Projection into the ball and the box."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.cleverhans_backend import project_to_ball

# One shape for all examples: TensorFlow compiles each operation once for it.
SHAPE = (3, 4, 4, 2)
fast = settings(max_examples=40, deadline=None)
pixels = st.floats(0, 1, width=32, allow_subnormal=False)
clean_images = arrays.arrays(np.float32, SHAPE, elements=pixels)
any_images = arrays.arrays(
    np.float32, SHAPE, elements=st.floats(-2, 3, width=32, allow_subnormal=False)
)
radii = st.floats(0.015625, 2, width=32)
norm_names = st.sampled_from(norms.NORMS)


def project(images, clean, epsilon, norm):
    arguments = (tf.constant(images), tf.constant(clean), tf.constant(epsilon, tf.float32))
    return project_to_ball(*arguments, norm).numpy()


@given(any_images, clean_images, radii, norm_names)
@fast
def test_result_is_in_the_ball_and_in_the_box(images, clean, epsilon, norm):
    projected = project(images, clean, epsilon, norm)
    assert projected.min() >= 0
    assert projected.max() <= 1
    size = norms.lp_norm(tf.constant(projected - clean), norm).numpy()
    assert size.max() <= epsilon * (1 + 1e-5) + 1e-6


@given(any_images, clean_images, radii, norm_names)
@fast
def test_projection_is_idempotent(images, clean, epsilon, norm):
    once = project(images, clean, epsilon, norm)
    np.testing.assert_allclose(project(once, clean, epsilon, norm), once, atol=1e-5)


@given(clean_images, clean_images, st.floats(0.125, 1, width=32), norm_names)
@fast
def test_images_inside_the_ball_are_unchanged(images, clean, epsilon, norm):
    size = norms.lp_norm(tf.constant(images - clean), norm).numpy().max()
    share = min(1.0, 0.9 * epsilon / max(size, 1e-6))
    inside = (clean + np.float32(share) * (images - clean)).astype(np.float32)
    np.testing.assert_allclose(project(inside, clean, epsilon, norm), inside, atol=1e-6)
