"""Loop of all iterative attacks: images that are finished leave the batch."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def masked_while_loop(
    step: Callable[[tf.Tensor, Any, Any], tuple[Any, tf.Tensor]],
    state: Any,
    active: tf.Tensor,
    max_steps: tf.Tensor | int,
    constants: Any = (),
) -> Any:
    """Repeat `step` on the active images until none is active or `max_steps` steps are done.

    Before every step the rows of the active images are gathered into a smaller batch. A finished
    image costs nothing more.

    Args:
      step: `step(number, state, constants) -> (state, active)`, with the rows of the active images
        only. `number` is the int32 scalar index of the step, from 0.
      state: nest of tensors [N, ...] that the steps change.
      active: bool [N], the images that are active at the beginning.
      max_steps: largest number of steps.
      constants: nest of tensors [N, ...], or None, that the steps read.

    Returns:
      The state after the last step, with all N rows.
    """

    def is_unfinished(number: tf.Tensor, state: Any, active: tf.Tensor) -> tf.Tensor:
        return tf.logical_and(number < max_steps, tf.reduce_any(active))

    def advance(
        number: tf.Tensor, state: Any, active: tf.Tensor
    ) -> tuple[tf.Tensor, Any, tf.Tensor]:
        rows = tf.where(active)
        indices = rows[:, 0]

        def gather_rows(tensor: tf.Tensor | None) -> tf.Tensor | None:
            return None if tensor is None else tf.gather(tensor, indices)

        def scatter_rows(tensor: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
            return tf.tensor_scatter_nd_update(tensor, rows, updates)

        active_state, still_active = step(
            number,
            tf.nest.map_structure(gather_rows, state),
            tf.nest.map_structure(gather_rows, constants),
        )
        state = tf.nest.map_structure(scatter_rows, state, active_state)
        return number + 1, state, scatter_rows(active, still_active)

    _, state, _ = tf.while_loop(is_unfinished, advance, (tf.constant(0), state, active))
    return state
