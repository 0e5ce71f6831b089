"""Functions that run operation by operation, and graphs that run as they were traced."""

import contextlib
import os
import warnings
from collections.abc import Iterator

import tensorflow as tf

# Options of `tf.config.optimizer`: graphs with fewer nodes than this are not optimized. `make coverage`
# optimizes them, as the commands do.
GRAPH_OPTIONS = {} if "OPTIMIZE_GRAPHS" in os.environ else {"min_graph_nodes": 10**6}


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
