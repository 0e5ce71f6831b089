"""Keras models read from files that others may have made."""

from pathlib import Path
from typing import Any

from tfdefense.training.keras_archive import readable_archive


def load_stored_model(path: Path) -> Any:
    """Return the Keras model of a `.keras` file, which runs no Python code of the file.

    Raises:
      UserError: a layer of it contains a graph that may not run.
      WorkFailedError: the temporary directory is full or not writable.
      Exception: it is damaged; there is another type for each kind of damage.
    """
    import keras

    with readable_archive(path) as readable:
        model = keras.models.load_model(readable, compile=False, safe_mode=True)
    require_safe_layers(model)
    return model


def run_stored_model(path: Path) -> None:
    """Load a model and run it once on grey images: the work of a trial."""
    import numpy as np

    model = load_stored_model(path)
    shape = [size or 1 for size in model.input_shape]
    model(np.full(shape, 0.5, np.float32), training=False)


def require_safe_layers(model: Any) -> None:
    """Call `require_safe` of all layers that have it, at any depth.

    A layer has it if it runs content of the file that Keras does not know.

    Args:
      model: a `keras.Model`.

    Raises:
      UserError: raised by a layer.
    """
    for layer in model._flatten_layers(recursive=True, include_self=False):
        if hasattr(layer, "require_safe"):
            layer.require_safe()
