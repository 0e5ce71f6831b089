"""Reading of `.keras` and `.h5` files, of Keras 3 and of Keras 2, into Keras 3 models."""

import contextlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from tfdefense.classifiers.custom.keras2_config import UnknownConfigError, translate_keras2_config
from tfdefense.classifiers.custom.keras2_functions import UnknownFunctionError
from tfdefense.classifiers.custom.keras3_config import (
    config_in_float32,
    name_layers_with_axes,
    name_operations,
)
from tfdefense.errors import UserError, WorkFailedError, require
from tfdefense.training.keras_archive import (
    CONFIG_FILE,
    METADATA_FILE,
    copy_with_config,
    drop_newer_arguments,
    is_newer,
    read_archive_config,
    temporary_copy,
)
from tfdefense.training.loaded_model import require_safe_layers
from tfdefense.training.nested_layers import finalize_states
from tfdefense.utils.trust import trusts_model_files

SUFFIXES = (".keras", ".h5", ".hdf5")
_MAX_CONFIG_BYTES = 64 * 2**20
_NO_MEMORY = "OOM when allocating"  # Keras wraps TensorFlow's ResourceExhaustedError.
_WAY_OUT = (
    " Open it with Keras 2 (pip install tf_keras), save it with model.export(DIR), and give that"
    " directory."
)


def read_keras_model(path: Path) -> keras.Model:
    """Read a model from a `.keras` or `.h5` file, without its optimizer.

    A model of Keras 2 is translated. Python code in Lambda layers runs only if this process trusts
    model files. Layers of float16 or bfloat16 compute in float32: see `config_in_float32`.

    Args:
      path: the file.

    Raises:
      UserError: the file is not a model, is damaged, contains Python code or a graph that may not run,
        or needs a layer that Keras 3 does not have.
      MemoryError: it needs more memory than there is.
      WorkFailedError: it is translated, and no temporary copy can be written.
    """
    require(
        path.suffix in SUFFIXES,
        f"--classifier={path}: {', '.join(SUFFIXES)} or a SavedModel directory needed.",
    )
    require(
        path.suffix != ".keras" or zipfile.is_zipfile(path),
        f"--classifier={path}: not a Keras model, or damaged: not a zip archive.",
    )
    version = None
    try:
        config, version = _read_config(path)
        with _rewritten(path, config, _translate(config, version)) as readable:
            model = keras.models.load_model(
                readable, compile=False, safe_mode=not trusts_model_files()
            )
    except WorkFailedError:
        raise
    except Exception as error:  # Zip, HDF5, JSON and Keras have different exceptions.
        if isinstance(error, MemoryError) or _NO_MEMORY in str(error):
            raise MemoryError(f"--classifier={path}: {_innermost(str(error))}") from error
        raise _explain_load_error(path, version, error) from error
    require(
        isinstance(model, keras.Model),
        f"--classifier={path}: holds a {type(model).__name__}, not a model.",
    )
    finalize_states([model])  # From an .h5 file, Keras does it for layers at the top only.
    try:
        require_safe_layers(model)
    except UserError as error:
        raise UserError(f"--classifier={path}: {error}") from error
    return model


def _read_config(path: Path) -> tuple[dict[str, Any], str]:
    """Return the configuration of the model, and the version of Keras that wrote it ("2" if none)."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            for name in (METADATA_FILE, CONFIG_FILE):
                _require_config_size(path, archive.getinfo(name).file_size)
        return read_archive_config(path)
    with h5py.File(path) as file:
        require(
            "model_config" in file.attrs,
            f"--classifier={path}: holds weights without a model. Save the model with"
            " model.save('model.keras').",
        )
        config = _text(file.attrs["model_config"])
        _require_config_size(path, len(config))
        return json.loads(config), _text(file.attrs.get("keras_version", "2"))


def _require_config_size(path: Path, size: int) -> None:
    """Raise `UserError` if the configuration of a model is too large to be one."""
    require(
        size <= _MAX_CONFIG_BYTES,
        f"--classifier={path}: its configuration has {size:,} bytes; at most {_MAX_CONFIG_BYTES:,} are"
        " accepted.",
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_keras2(version: str | None) -> bool:
    return version is not None and version.split(".")[0] in ("1", "2")


def _translate(config: dict[str, Any], version: str) -> dict[str, Any]:
    if _is_keras2(version):
        config = translate_keras2_config(config)
    named = name_layers_with_axes(name_operations(drop_newer_arguments(config, version)))
    return config_in_float32(named)


@contextlib.contextmanager
def _rewritten(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the file with another configuration: a temporary copy, or `path` if nothing changes."""
    if new == old:
        yield path
        return

    def write(copy: Path) -> None:
        if path.suffix == ".keras":
            copy_with_config(path, copy, new)
        else:
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(new).encode()

    with temporary_copy(path, write) as copy:
        yield copy


def _explain_load_error(path: Path, version: str | None, error: Exception) -> UserError:
    """Return an error that tells the user what to do about an exception of `load_model`."""
    if isinstance(error, UserError):
        return error
    text = " ".join(str(error).split())
    if isinstance(error, UnknownConfigError | UnknownFunctionError):
        return UserError(f"--classifier={path}: written by Keras {version}: {text}.{_WAY_OUT}")
    if not trusts_model_files() and re.search(r"vocabulary file|TFSMLayer", text):
        return UserError(
            f"--classifier={path}: a layer of it reads another file of this computer. If you trust it:"
            " --unsafe_load."
        )
    if not trusts_model_files() and re.search(r"\bLambda\b|\blambda\b|safe_mode|unsafe", text):
        return UserError(
            f"--classifier={path}: contains a Lambda layer, or other Python code, which would run"
            " here. If you trust it: --unsafe_load."
        )
    reason = _innermost(text)
    if _is_keras2(version):
        return UserError(f"--classifier={path}: written by Keras {version}: {reason}.{_WAY_OUT}")
    if version is not None and is_newer(version):
        return UserError(
            f"--classifier={path}: written by Keras {version}, which is newer than Keras"
            f" {keras.__version__} here: {reason}. Update Keras, or save the model with"
            " model.export(DIR) and give that directory."
        )
    missing = re.search(r"(?:locate (?:class|function)|Unknown layer:?) '?(\w+)'?", text)
    if missing:
        return UserError(
            f"--classifier={path}: needs {missing[1]!r}, which is not part of Keras. Save the model"
            " with model.export(DIR), and give that directory."
        )
    return UserError(f"--classifier={path}: not a Keras model, or damaged: {reason}.")


def _innermost(text: str) -> str:
    """Return the cause in a message of Keras, without the configurations that it prints."""
    cause = text.rsplit("Exception encountered:", 1)[-1]
    return re.split(r"config=\{| Full object config| Received: ", cause)[0].strip(" .'\"") or "?"
