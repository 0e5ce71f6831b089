"""Auto-PGD: the checkpoints and the halving rule of the paper."""

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core.auto_pgd import AscentState, halve_step_if_stuck, window_ends


def test_windows_end_at_the_checkpoints_of_the_paper():
    """p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)."""
    percent = [0, 22]
    while percent[-1] < 100:
        percent.append(percent[-1] + max(percent[-1] - percent[-2] - 3, 6))
    ends = [index + 1 for index, window in enumerate(window_ends(100)) if window]
    assert ends == [each for each in percent[1:] if each <= 100]


def test_windows_fit_into_any_number_of_steps():
    for steps in (1, 2, 5, 17, 250):
        windows = window_ends(steps)
        assert len(windows) == steps
        assert sum(windows) <= steps


def make_state(increases, was_halved, loss_at_checkpoint, best_loss):
    count = len(increases)
    point = tf.zeros([count, 1, 1, 1])
    numbers = tf.zeros([count])
    return AscentState(
        point=point,
        previous=point,
        gradient=point,
        loss=numbers,
        best=point + 7,
        best_gradient=point + 3,
        best_loss=tf.constant(best_loss),
        result=point,
        result_loss=numbers,
        success=numbers > 0,
        step_size=point + 1,
        increases=tf.constant(increases),
        was_halved=tf.constant(was_halved),
        loss_at_checkpoint=tf.constant(loss_at_checkpoint),
        num_gradients=tf.zeros([count], tf.int32),
    )


def test_step_is_halved_if_the_loss_oscillates_or_does_not_change():
    state = make_state(
        increases=[7, 8, 8, 8],
        was_halved=[True, True, False, False],
        loss_at_checkpoint=[1.0, 1.0, 1.0, 1.0],
        best_loss=[2.0, 1.0, 1.0, 2.0],
    )
    after = halve_step_if_stuck(state, tf.constant(10))
    # 7 increases of 10 are too few. An unchanged loss counts only after a step that was not halved.
    np.testing.assert_allclose(after.step_size[:, 0, 0, 0], [0.5, 1, 0.5, 1])
    np.testing.assert_allclose(after.point[:, 0, 0, 0], [7, 0, 7, 0])
    np.testing.assert_allclose(after.gradient[:, 0, 0, 0], [3, 0, 3, 0])
    np.testing.assert_array_equal(after.was_halved, [True, False, True, False])
    np.testing.assert_array_equal(after.increases, 0)
