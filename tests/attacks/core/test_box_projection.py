"""Projection onto a plane within the box, against the optimizers of SciPy."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from tfdefense.attacks.core.box_projection import step_to_plane


def smallest_step_by_scipy(x, w, value, norm):
    """Return min ||d|| with w . d = -value and 0 <= x + d <= 1; None if no d satisfies this."""
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


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_step_is_the_optimum(norm):
    rng = np.random.default_rng(0)
    x = rng.random((40, 2, 3, 2)).astype(np.float32)
    w = rng.normal(size=x.shape).astype(np.float32)
    w[:, 0, 0, 0] = 0
    value = rng.normal(scale=2.0, size=40).astype(np.float32)
    change = step_to_plane(*map(tf.constant, (x, w, value)), norm).numpy()
    assert np.all(x + change >= -1e-6)
    assert np.all(x + change <= 1 + 1e-6)
    unreachable = 0
    for row in range(40):
        flat_x, flat_w, d = x[row].ravel(), w[row].ravel(), change[row].ravel()
        expected = smallest_step_by_scipy(
            *(a.astype(np.float64) for a in (flat_x, flat_w)), value[row], norm
        )
        if expected is None:
            # As far as the box allows in the right direction.
            direction = -np.sign(flat_w) * np.sign(value[row])
            furthest = np.where(direction > 0, 1 - flat_x, np.where(direction < 0, -flat_x, 0))
            np.testing.assert_allclose(d, furthest, atol=1e-5)
            unreachable += 1
            continue
        np.testing.assert_allclose(flat_w @ d, -value[row], atol=1e-4)
        size = np.abs(d).max() if norm == "linf" else np.linalg.norm(d)
        np.testing.assert_allclose(size, expected, rtol=2e-3, atol=1e-4)
    assert 0 < unreachable < 20
