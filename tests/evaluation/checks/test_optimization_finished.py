import numpy as np
import pytest

from tests.evaluation.checks.planted_flaws import identity, thin_out_gradient
from tfdefense.evaluation.checks.optimization_finished import (
    OPTIMIZATION_FINISHED,
    falling_images,
    unfinished_images,
)


def test_loss_that_rises_at_the_end_is_unfinished():
    steps = np.arange(41, dtype=np.float32)
    converged, rising = np.minimum(steps, 30), steps
    jumping = np.where(steps % 2, 30, np.minimum(steps, 30))  # The highest loss no longer rises.
    losses = np.stack([converged, rising, jumping, 0 * steps], axis=1)
    assert unfinished_images(losses).tolist() == [False, True, False, False]


def test_image_falls_if_its_log_odds_reach_zero_in_as_many_steps_again():
    steps = np.arange(41, dtype=np.float32)
    log_odds = np.stack([0.1 * steps - 7.9, 0.1 * steps - 8.1, 0 * steps - 1], axis=1)
    losses = np.log1p(np.exp(log_odds))
    assert falling_images(losses).tolist() == [True, False, False]


def test_pgd_that_reaches_the_corners_of_the_ball_passes(evidence_of, diagnose):
    diagnostics = diagnose(identity, epsilon=0.02, steps=40)
    result = OPTIMIZATION_FINISHED.run(evidence_of(diagnostics))
    assert result.passed
    assert "still rises at 0 of the 24 images that withstand" in result.verdict


@pytest.mark.slow
def test_loss_that_rises_far_from_any_border_passes(evidence_of, diagnose):
    diagnostics = diagnose(thin_out_gradient, epsilon=0.02, steps=40)
    result = OPTIMIZATION_FINISHED.run(evidence_of(diagnostics))
    assert result.passed
    assert "would bring 0 of 24 images" in result.verdict


def test_gradients_of_few_pixels_fail(evidence_of, diagnose):
    diagnostics = diagnose(thin_out_gradient, epsilon=0.25, steps=40)
    result = OPTIMIZATION_FINISHED.run(evidence_of(diagnostics))
    assert not result.passed
    assert "--attacks=pgd:steps=200" in result.verdict


def test_huge_losses_need_no_exponential_and_all_ten_steps_count():
    steps = np.arange(41, dtype=np.float32)
    huge = np.stack([100 + steps, 0 * steps + 200, 1e-20 * steps], axis=1)
    with np.errstate(all="raise"):
        assert falling_images(huge).tolist() == [True, True, False]
    first_of_ten = np.where(steps > 30, 1.0, 0.8)[:, None] * np.minimum(steps, 1)[:, None]
    assert unfinished_images(first_of_ten).tolist() == [True]
