"""The loop of all iterative attacks: images that are done leave the batch."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def masked_while_loop(
    step: Callable[[tf.Tensor, Any, Any], tuple[Any, tf.Tensor]],
    state: Any,
    active: tf.Tensor,
    steps: tf.Tensor | int,
    constants: Any = (),
) -> Any:
    """Repeats `step` on the images that are still active, until none is or `steps` are made.

    Before every step the active images' rows are gathered into a smaller batch, so an image that is
    done costs nothing more.

    Args:
      step: `step(number, state, constants) -> (state, active)` with rows of the active images only;
        number is the int32 scalar of the step, from 0.
      state: nest of tensors [N, ...] that steps change.
      active: bool [N], the images to begin with.
      steps: at most so many steps.
      constants: nest of tensors [N, ...], or None, that steps read.

    Returns:
      The state after the last step, all N rows.
    """

    def unfinished(number: tf.Tensor, state: Any, active: tf.Tensor) -> tf.Tensor:
        return tf.logical_and(number < steps, tf.reduce_any(active))

    def advance(number: tf.Tensor, state: Any, active: tf.Tensor) -> tuple:
        rows = tf.where(active)

        def take(tensor: tf.Tensor | None) -> tf.Tensor | None:
            return None if tensor is None else tf.gather(tensor, rows[:, 0])

        def put(whole: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
            return tf.tensor_scatter_nd_update(whole, rows, part)

        part, still_active = step(
            number,
            tf.nest.map_structure(take, state),
            tf.nest.map_structure(take, constants),
        )
        state = tf.nest.map_structure(put, state, part)
        return number + 1, state, put(active, still_active)

    _, state, _ = tf.while_loop(unfinished, advance, (tf.constant(0), state, active))
    return state
