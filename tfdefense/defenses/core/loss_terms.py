"""Gradient of a loss of several terms, summed in a fixed order.

`tf.GradientTape` adds three or more gradients of one tensor in the order in which they are ready,
so their sum, and with it a training, would differ in the last bit from run to run.
"""

from collections.abc import Sequence

import tensorflow as tf


def copy_per_loss_term(tape: tf.GradientTape, images: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Return `count` copies of `images`, one per loss term, all watched by `tape`."""
    copies = [tf.identity(images) for _ in range(count)]
    tape.watch(copies)
    return copies


def sum_gradients(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the sum of the gradients of the copies, in their order."""
    return tf.reduce_sum(tf.stack(gradients), axis=0)
