"""Functions that run operation by operation."""

import contextlib
import warnings
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def eager_functions() -> Iterator[None]:
    """Run functions operation by operation: to trace a step takes as long as a few eager steps."""
    tf.config.run_functions_eagerly(run_eagerly=True)
    try:
        with warnings.catch_warnings():
            # TensorFlow says that functions of tf.data are still compiled.
            warnings.filterwarnings("ignore", "Even though the .*run_functions_eagerly")
            yield
    finally:
        tf.config.run_functions_eagerly(run_eagerly=False)
