"""FAB: its projections against SciPy's optimizers, the attack against closed forms."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from tests.attacks.test_deepfool import nearest
from tfdefense.attacks import FABT, DeepFool
from tfdefense.attacks.fab import to_boundary


def smallest_by_scipy(x, w, value, norm):
    """min ||d|| with w . d = -value and 0 <= x + d <= 1; None where the box does not reach."""
    if norm == "l2":
        found = scipy.optimize.minimize(
            lambda d: d @ d,
            np.zeros_like(x),
            jac=lambda d: 2 * d,
            bounds=list(zip(-x, 1 - x, strict=True)),
            constraints={"type": "eq", "fun": lambda d: w @ d + value, "jac": lambda d: w},
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )
        return np.linalg.norm(found.x) if found.success else None
    count = len(x)
    one = np.ones((count, 1))
    found = scipy.optimize.linprog(
        np.append(np.zeros(count), 1),
        A_ub=np.block([[np.eye(count), -one], [-np.eye(count), -one]]),
        b_ub=np.zeros(2 * count),
        A_eq=np.append(w, 0)[None],
        b_eq=[-value],
        bounds=[*zip(-x, 1 - x, strict=True), (0, None)],
    )
    return found.fun if found.success else None


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_is_the_optimum(norm):
    rng = np.random.default_rng(0)
    x = rng.random((40, 2, 3, 2)).astype(np.float32)
    w = rng.normal(size=x.shape).astype(np.float32)
    w[:, 0, 0, 0] = 0
    value = rng.normal(scale=2.0, size=40).astype(np.float32)
    change = to_boundary(*map(tf.constant, (x, w, value)), norm).numpy()
    assert np.all(x + change >= -1e-6)
    assert np.all(x + change <= 1 + 1e-6)
    unreachable = 0
    for row in range(40):
        flat_x, flat_w, d = x[row].ravel(), w[row].ravel(), change[row].ravel()
        expected = smallest_by_scipy(
            *(a.astype(np.float64) for a in (flat_x, flat_w)), value[row], norm
        )
        if expected is None:
            # As far as the box allows in the right direction.
            goes = -np.sign(flat_w) * np.sign(value[row])
            furthest = np.where(goes > 0, 1 - flat_x, np.where(goes < 0, -flat_x, 0))
            np.testing.assert_allclose(d, furthest, atol=1e-5)
            unreachable += 1
            continue
        np.testing.assert_allclose(flat_w @ d, -value[row], atol=1e-4)
        size = np.abs(d).max() if norm == "linf" else np.linalg.norm(d)
        np.testing.assert_allclose(size, expected, rtol=2e-3, atol=1e-4)
    assert 0 < unreachable < 20


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_linear_model_it_finds_the_nearest_boundary(norm, linear, linear_images):
    images, labels = linear_images
    result = FABT(norm=norm, steps=60).run(linear, images, labels)
    assert np.asarray(result.success).all()
    expected = nearest(linear, images, labels, norm)
    np.testing.assert_allclose(getattr(result, norm), expected, rtol=0.03)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_gets_nearer_than_deepfool(norm, victim, victim_images, victim_labels):
    fast = getattr(DeepFool(norm=norm).run(victim, victim_images, victim_labels), norm)
    slow = getattr(FABT(norm=norm).run(victim, victim_images, victim_labels), norm)
    assert np.mean(slow) < np.mean(fast)


def test_with_a_radius_it_gives_what_is_within_or_the_image_itself(
    victim, victim_images, victim_labels
):
    free = FABT(steps=40).run(victim, victim_images, victim_labels)
    radius = float(np.median(free.linf))
    bound = FABT(epsilon=radius * 1.001, steps=40).run(victim, victim_images, victim_labels)
    assert np.asarray(bound.linf).max() <= radius * 1.001
    within = np.asarray(free.linf) <= radius
    np.testing.assert_array_equal(bound.success, within)
    np.testing.assert_array_equal(bound.images[~within], victim_images[~within])
    assert np.mean(bound.gradients) < np.mean(free.gradients)
