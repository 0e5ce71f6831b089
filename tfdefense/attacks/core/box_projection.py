"""Projection onto a hyperplane within the box [0, 1], in the L-infinity and the L2 norm.

Croce, Hein, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML
2020.
"""

import tensorflow as tf


def step_to_plane(point: tf.Tensor, slope: tf.Tensor, value: tf.Tensor, norm: str) -> tf.Tensor:
    """Return the smallest step d with slope . d = -value and point + d in [0, 1].

    If no point of the box satisfies this, it is the step that comes nearest.

    In the optimum every coordinate moves at the same speed ("linf"), or at a speed proportional to
    its slope ("l2"), until it reaches the end of the box. The total effect is a piecewise linear
    function of the duration. Sorting the coordinates by the duration until they reach the end gives
    its pieces, and so the duration at which the effect is |value|.

    Args:
      point, slope: float32 [N, H, W, C].
      value: float32 [N], the linear function at `point`.
      norm: norm of the step, "linf" or "l2".
    """
    shape = tf.shape(point)
    x, w = (tf.reshape(tensor, [shape[0], -1]) for tensor in (point, slope))
    direction = -tf.sign(w) * tf.sign(value)[:, None]
    room = tf.where(direction < 0, x, 1 - x)
    steepness = tf.abs(w)
    speed = tf.ones_like(w) if norm == "linf" else steepness
    durations = tf.where(speed > 0, tf.math.divide_no_nan(room, speed), 0.0)
    duration = _duration_until(steepness * speed, durations, tf.abs(value))
    step = direction * tf.minimum(duration[:, None] * speed, room)
    return tf.reshape(step, shape)


def _duration_until(rates: tf.Tensor, durations: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Return the t at which sum_i rates_i * min(t, durations_i) is `value`, float32 [N].

    If the sum never reaches `value`, it is the longest duration.
    """
    order = tf.argsort(durations, axis=1)
    rates = tf.gather(rates, order, batch_dims=1)
    durations = tf.gather(durations, order, batch_dims=1)
    finished = tf.cumsum(rates * durations, axis=1, exclusive=True)
    unfinished_rate = tf.cumsum(rates, axis=1, reverse=True)
    is_reached = finished + unfinished_rate * durations >= value[:, None]
    first = tf.argmax(is_reached, axis=1)
    finished, unfinished_rate, last = (
        tf.gather(tensor, first, batch_dims=1) for tensor in (finished, unfinished_rate, durations)
    )
    found = tf.math.divide_no_nan(value - finished, unfinished_rate)
    is_ever_reached = tf.reduce_any(is_reached, axis=1)
    return tf.where(is_ever_reached, tf.minimum(found, last), durations[:, -1])
