import numpy as np

from tests.evaluation.checks.planted_flaws import identity, thin_out_gradient
from tfdefense.evaluation.checks.optimization_finished import (
    OPTIMIZATION_FINISHED,
    unfinished_images,
)


def test_loss_that_rises_at_the_end_is_unfinished():
    steps = np.arange(41, dtype=np.float32)
    converged, rising = np.minimum(steps, 30), steps
    jumping = np.where(steps % 2, 30, np.minimum(steps, 30))  # The highest loss no longer rises.
    losses = np.stack([converged, rising, jumping, 0 * steps], axis=1)
    assert unfinished_images(losses).tolist() == [False, True, False, False]


def test_pgd_that_reaches_the_corners_of_the_ball_passes(evidence_of, diagnose):
    diagnostics = diagnose(identity, epsilon=0.02, steps=40)
    result = OPTIMIZATION_FINISHED.run(evidence_of(diagnostics))
    assert result.passed
    assert "still rises at 0 of 24 images; 24 withstand it" in result.verdict


def test_gradients_of_few_pixels_fail(evidence_of, diagnose):
    diagnostics = diagnose(thin_out_gradient, epsilon=0.02, steps=40)
    result = OPTIMIZATION_FINISHED.run(evidence_of(diagnostics))
    assert not result.passed
    assert "--attacks=pgd:steps=200" in result.verdict
