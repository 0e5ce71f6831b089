"""Checks inside a TensorFlow graph, and the sentences of those that failed."""

import tensorflow as tf

from tfdefense.errors import short_reason


def raise_if(
    is_invalid: tf.Tensor,
    message: str,
    arguments: tf.Tensor | tuple[tf.Tensor, ...],
    values: tf.Tensor,
) -> tf.Tensor:
    """Return `values`, or raise InvalidArgumentError with `message.format(arguments)`."""
    check = tf.debugging.Assert(~is_invalid, [tf.strings.format(message, arguments)])
    with tf.control_dependencies([check]):
        return tf.identity(values)


def rejection_reason(error: Exception | str) -> str:
    """Return the sentence of a failed check in the graph, without the text that TensorFlow adds."""
    sentence = str(error).partition("assertion failed: [")[2]
    return sentence.partition("]\n")[0].removesuffix("]") if sentence else short_reason(error)
