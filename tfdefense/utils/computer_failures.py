"""Exceptions whose cause is the computer or another worker, and not the file that is read."""

import tensorflow as tf

COMPUTER_FAILURES = (
    OSError,
    MemoryError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
)
