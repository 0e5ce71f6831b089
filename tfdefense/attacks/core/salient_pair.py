"""Exact search for the pair of values with the highest saliency, without a table of all pairs.

Papernot et al., "The Limitations of Deep Learning in Adversarial Settings", EuroS&P 2016, algorithm
3.
"""

import tensorflow as tf


def most_salient_pair(towards: tf.Tensor, away: tf.Tensor, is_free: tf.Tensor) -> tf.Tensor:
    """Return the pair i != j of highest (a_i + a_j)(c_i + c_j) with both sums positive.

    A value dominates another if both its a and its c are at least as high. If two other values
    dominate j, one of them is not i and can take the place of j. The best pair is therefore among
    the values that at most one other value dominates, and there are few of these.

    Args:
      towards, away: a and c, float32 [N, P].
      is_free: bool [N, P], True for the values that may be taken.

    Returns:
      int32 [N, 2], two positions. If no pair qualifies, they are the two free ones of highest a +
      c.
    """
    lowest = towards.dtype.min / 8
    order = tf.argsort(tf.where(is_free, towards, lowest), axis=1, direction="DESCENDING")
    a = tf.gather(towards, order, batch_dims=1)
    c = tf.where(
        tf.gather(is_free, order, batch_dims=1), tf.gather(away, order, batch_dims=1), lowest
    )
    # Of many equal values, such as those of a gradient of zero, two are candidates.
    is_candidate = (c > _second_highest_before(c)) & (c > lowest)
    counts = tf.reduce_sum(tf.cast(is_candidate, tf.int32), axis=1)
    width = tf.maximum(tf.reduce_max(counts), 2)
    # The candidates come first and keep their order.
    _, candidates = tf.math.top_k(tf.cast(is_candidate, tf.int32), width)
    exists = tf.sequence_mask(counts, width)
    a, c = tf.gather(a, candidates, batch_dims=1), tf.gather(c, candidates, batch_dims=1)
    sums_a, sums_c = a[:, :, None] + a[:, None], c[:, :, None] + c[:, None]
    is_pair = exists[:, :, None] & exists[:, None] & ~tf.eye(width, dtype=tf.bool)
    saliency = tf.where(is_pair & (sums_a > 0) & (sums_c > 0), sums_a * sums_c, 0.0)
    fallback = tf.where(is_pair, sums_a + sums_c, lowest)
    none_qualifies = tf.reduce_max(saliency, axis=(1, 2), keepdims=True) <= 0
    score = tf.where(none_qualifies, fallback, saliency)
    best = tf.argmax(tf.reshape(score, [-1, width * width]), 1, output_type=tf.int32)
    pair = tf.stack([best // width, best % width], axis=1)
    return tf.gather(order, tf.gather(candidates, pair, batch_dims=1), batch_dims=1)


def _second_highest_before(values: tf.Tensor) -> tf.Tensor:
    """Return for each value the second highest of the values to its left, [N, P].

    It is the lowest number of the dtype if there are fewer than two.
    """
    lowest = values.dtype.min
    first = tf.pad(values, [[0, 0], [1, 0]], constant_values=lowest)[:, :-1]
    second = tf.fill(tf.shape(first), lowest)
    reach = 1
    while reach < values.shape[1]:  # Each round doubles the number of values that are compared.
        paddings = [[0, 0], [reach, 0]]
        before_first = tf.pad(first, paddings, constant_values=lowest)[:, :-reach]
        before_second = tf.pad(second, paddings, constant_values=lowest)[:, :-reach]
        lower = tf.minimum(first, before_first)
        first = tf.maximum(first, before_first)
        second = tf.maximum(lower, tf.maximum(second, before_second))
        reach *= 2
    return second
