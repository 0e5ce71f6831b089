"""The view that a training step has of its replica: its share of means and of random numbers."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfdefense.training.row_draws import Rows, normal_rows, uniform_rows

# The maximum number of draws in one step. The seeds of two steps never overlap.
_DRAWS_PER_STEP = 1_000


class Replica:
    """One replica in one training step.

    `n` is the number of examples of this replica. Every random number is a function of (seed,
    step, position in the *global* batch). So a run that is killed and resumed draws the same
    numbers, and several replicas together draw the numbers that one replica would draw.

    Args:
      seed: the seed of the run.
      step: the global step, int64 scalar.
      global_batch: the number of examples in a step, over all replicas.
    """

    def __init__(self, seed: int, step: tf.Tensor, global_batch: int) -> None:
        context = tf.distribute.get_replica_context()
        self.step = step
        self.global_batch = global_batch
        self._seed = seed
        local_batch = global_batch // context.num_replicas_in_sync
        self._rows = Rows(context.replica_id_in_sync_group * local_batch, local_batch)
        self._draws = 0

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """Return this replica's share of the mean of `values` over the global batch.

        The shares of all replicas add up to the mean, and their gradients to its gradient.

        Args:
          values: one value per example, [n].
        """
        return tf.reduce_sum(values) / self.global_batch

    def clip(self, gradients: list[tf.Tensor], max_norm: float | tf.Tensor) -> list[tf.Tensor]:
        """Return this replica's shares of gradients, scaled down to a maximum norm of their sum.

        The clipping of a Keras optimizer would use the norm of one replica's share.

        Args:
          gradients: this replica's share of each gradient.
          max_norm: the largest norm of all gradients together, a number or a tensor []; the number 0
            means no limit.
        """
        if not tf.is_tensor(max_norm) and not max_norm:
            return gradients
        norm = self._global_norm(gradients)
        scale = max_norm / tf.maximum(norm, max_norm)
        return [gradient * scale for gradient in gradients]

    def gradient_norm(self, gradients: list[tf.Tensor | None]) -> tf.Tensor:
        """Return this replica's share of the norm of the gradient, summed over all replicas.

        The shares are equal and add up to that norm. The norms of the shares of the gradient would
        add up to more.

        Args:
          gradients: this replica's share of each gradient; None for a variable without one.
        """
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        return self._global_norm(gradients) / replicas

    def uniform(self, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """Return one uniform number in [low, high) per example, float32 [n]."""
        return uniform_rows(self._rows, [], self._next_seed()) * (high - low) + low

    def normal(self, shape: tuple[int, ...]) -> tf.Tensor:
        """Return standard normal numbers for each example, float32 [n, *shape]."""
        return normal_rows(self._rows, shape, self._next_seed())

    def passes(self, image_count: int) -> tf.Tensor:
        """Return the epoch over `image_count` training images that shows each example, int64 [n]."""
        first = self.step * self.global_batch + tf.cast(self._rows.first, tf.int64)
        return (first + tf.range(self._rows.count, dtype=tf.int64)) // image_count

    def choice(
        self, values: tuple[float, ...], weights: Sequence[float] | None = None
    ) -> tf.Tensor:
        """Return one of `values` per example, float32 [n].

        Args:
          values: values to draw from.
          weights: weight of each value, 0 or more, and one above 0; None means equal weights.
        """
        last = len(values) - 1
        if weights is None or len(set(weights)) == 1:
            index = tf.cast(self.uniform(0.0, float(len(values))), tf.int32)
        else:
            bounds = np.cumsum(weights)[:-1] / np.sum(weights)
            index = tf.searchsorted(tf.constant(bounds, tf.float32), self.uniform(), side="right")
        return tf.gather(tf.constant(values, tf.float32), tf.minimum(index, last))

    def _global_norm(self, gradients: list[tf.Tensor | None]) -> tf.Tensor:
        """Return the L2 norm of all gradients, summed over the replicas."""
        context = tf.distribute.get_replica_context()
        known = [gradient for gradient in gradients if gradient is not None]
        return tf.linalg.global_norm(context.all_reduce("sum", known))

    def _next_seed(self) -> tf.Tensor:
        draw = self.step * _DRAWS_PER_STEP + self._draws
        self._draws += 1
        return tf.stack([tf.constant(self._seed, tf.int64), draw])
