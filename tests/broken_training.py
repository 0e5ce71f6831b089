"""A training that breaks off, as by a crash."""

import tensorflow as tf


def break_at(task, step):
    """Let the training of a task fail with `tf.errors.InvalidArgumentError` at a step.

    Args:
      task: a `Task`; its `train_step` is replaced.
      step: number of the step that fails.
    """
    train_step = task.train_step

    def breaking(batch, replica):
        tf.debugging.assert_less(replica.step, tf.constant(step, tf.int64))
        return train_step(batch, replica)

    task.train_step = breaking
