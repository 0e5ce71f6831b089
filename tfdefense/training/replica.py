"""What a training step knows about the replica that it runs on."""

import tensorflow as tf

# Draws that one step may make; the seeds of two steps never overlap.
_DRAWS_PER_STEP = 1_000


class Replica:
    """One replica's share of one step: of the batch mean, and of the random numbers.

    Every random number is a function of (seed, step, place in the *global* batch). A run that was
    killed draws what it would have drawn, and several replicas draw together what one would.

    Args:
      seed: the run's seed.
      step: int64 scalar, the global step.
      global_batch: examples in a step, over all replicas.
    """

    def __init__(self, seed: int, step: tf.Tensor, global_batch: int) -> None:
        context = tf.distribute.get_replica_context()
        self.step = step
        self.global_batch = global_batch
        self._seed = seed
        self._local_batch = global_batch // context.num_replicas_in_sync
        self._offset = context.replica_id_in_sync_group * self._local_batch
        self._draws = 0

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """This replica's share of the mean of per-example `values` [n] over the global batch.

        The shares of all replicas add up to the mean, and so do their gradients.
        """
        return tf.reduce_sum(values) / self.global_batch

    def clipped(self, gradients: list[tf.Tensor], most: float) -> list[tf.Tensor]:
        """This replica's shares of gradients, scaled alike so that their sum is of norm `most` at most; 0 for any.

        An optimizer's own clipping would see one replica's share at a time.
        """
        if not most:
            return gradients
        norm = self._norm_of_all(gradients)
        scale = most / tf.maximum(norm, most)
        return [gradient * scale for gradient in gradients]

    def gradient_norm(self, gradients: list[tf.Tensor | None]) -> tf.Tensor:
        """This replica's share of the norm of the whole gradient, of which `gradients` are its share.

        The norms of the shares would add up to more than the norm of their sum.
        """
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        return self._norm_of_all(gradients) / replicas

    def uniform(self, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """float32 [n], uniform in [low, high): one number for each of this replica's examples."""
        return self._mine(
            tf.random.stateless_uniform([self.global_batch], self._next_seed(), low, high)
        )

    def normal(self, shape: tuple[int, ...]) -> tf.Tensor:
        """float32 [n, *shape], standard normal: so many for each of this replica's examples."""
        return self._mine(
            tf.random.stateless_normal([self.global_batch, *shape], self._next_seed())
        )

    def choice(self, values: tuple[float, ...]) -> tf.Tensor:
        """float32 [n]: for each of this replica's examples, one of `values`, all equally likely."""
        index = tf.cast(self.uniform(0.0, float(len(values))), tf.int32)
        return tf.gather(tf.constant(values, tf.float32), tf.minimum(index, len(values) - 1))

    def _norm_of_all(self, gradients: list[tf.Tensor | None]) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        known = [gradient for gradient in gradients if gradient is not None]
        return tf.linalg.global_norm(context.all_reduce("sum", known))

    def _next_seed(self) -> tf.Tensor:
        draw = self.step * _DRAWS_PER_STEP + self._draws
        self._draws += 1
        return tf.stack([tf.constant(self._seed, tf.int64), draw])

    def _mine(self, numbers: tf.Tensor) -> tf.Tensor:
        """This replica's rows of what was drawn for the global batch."""
        return numbers[self._offset : self._offset + self._local_batch]
