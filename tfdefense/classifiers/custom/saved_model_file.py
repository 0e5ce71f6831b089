"""Reading of SavedModel directories as graphs and arrays, without running anything in them.

`tf.saved_model.load` rebuilds the Python objects that were saved, and runs the functions that restore
them. It fails on objects that are gone (optimizers of Keras 2). Here the graph of a signature is read
from `saved_model.pb`, and its variables from the checkpoint next to it.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfdefense.classifiers.custom.graph_loops import BOUND, MAX_STEPS
from tfdefense.classifiers.custom.graph_pruning import node_of
from tfdefense.errors import UserError, require, short_reason

SAVED_MODEL_FILE = "saved_model.pb"
_INTERNAL = ("__saved_model_init_op", "__saved_model_train_op")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_MAX_BYTES = 2**31  # The limit of protobuf.
_ASSIGNMENTS = ("Assign", "AssignVariableOp")


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """A tensor of a signature.

    Attributes:
      tensor: its name in the graph, "serving_default_images:0".
      dtype: its dtype.
      shape: its sizes, None where unknown; None if even the rank is unknown.
    """

    tensor: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        sizes = ["any" if size is None else str(size) for size in self.shape or ()]
        return (
            f"{self.dtype.name} ({', '.join(sizes)})" if self.shape is not None else self.dtype.name
        )


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature of a SavedModel: the tensors that it takes and returns, by name."""

    name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]

    @property
    def takes_images(self) -> bool:
        """True if it takes one floating-point tensor."""
        inputs = list(self.inputs.values())
        return len(inputs) == 1 and inputs[0].dtype.is_floating


@dataclasses.dataclass(frozen=True)
class SavedModelFile:
    """Content of a SavedModel directory.

    Attributes:
      path: the directory.
      graph: GraphDef with all signatures.
      signatures: by name.
    """

    path: Path
    graph: Any
    signatures: Mapping[str, Signature]
    _keys: Mapping[str, str]

    def read_variables(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return the values of variables by the name of their node in the graph.

        Raises:
          UserError: the checkpoint is missing or damaged, or does not hold one of them.
        """
        keys = {name: self._keys.get(name, name) for name in names}
        if not keys:
            return {}
        try:
            # `tf.train.load_checkpoint` would follow a list of checkpoints to other directories.
            reader = tf.compat.v1.train.NewCheckpointReader(
                str(self.path / "variables" / "variables")
            )
            missing = [name for name, key in keys.items() if not reader.has_tensor(key)]
            values = {
                name: np.asarray(reader.get_tensor(key))
                for name, key in keys.items()
                if name not in missing
            }
        except (ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
            raise UserError(
                f"--classifier={self.path}: its variables cannot be read: {model_reason(error)}"
            ) from error
        require(
            not missing,
            f"--classifier={self.path}: its variables do not hold {', '.join(missing)}.",
        )
        return values


def read_saved_model(path: Path) -> SavedModelFile:
    """Read the graph and the signatures of a SavedModel directory.

    Raises:
      UserError: it is damaged, or not for inference.
    """
    saved = parse_saved_model(path, f"--classifier={path}")
    metas = [meta for meta in saved.meta_graphs if "serve" in meta.meta_info_def.tags]
    require(
        len(metas) == 1,
        f"--classifier={path}: holds {len(metas)} graphs with the tag 'serve', one needed.",
    )
    (meta,) = metas
    try:
        signatures = {
            name: Signature(name, _infos(signature.inputs), _infos(signature.outputs))
            for name, signature in meta.signature_def.items()
            if name not in _INTERNAL
        }
        return SavedModelFile(path, meta.graph_def, signatures, _checkpoint_keys(meta))
    except Exception as error:  # There is another exception for each kind of damage.
        raise UserError(
            f"--classifier={path}: its signatures cannot be read: {model_reason(error)}"
        ) from error


def parse_saved_model(path: Path, place: str) -> Any:
    """Return the SavedModel message in `saved_model.pb` of a directory.

    Args:
      path: the directory.
      place: start of the error message, such as "--classifier=DIR".

    Raises:
      UserError: the file is damaged, or larger than protobuf allows.
    """
    file = path / SAVED_MODEL_FILE
    try:
        size = file.stat().st_size
        require(size < _MAX_BYTES, f"{place}: saved_model.pb has {size:,} bytes, 2 GiB or more.")
        return saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except UserError:
        raise
    except Exception as error:  # Protobuf's DecodeError, or the file system's.
        raise UserError(f"{place}: cannot be loaded: saved_model.pb is damaged.") from error


def model_reason(error: Exception) -> str:
    """Return the reason for an error of a model in one line: see `short_reason`."""
    if BOUND in str(error):
        return f"a loop of it has more than {MAX_STEPS:,} steps"
    return short_reason(error)


def _infos(tensors: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {name: _info(tensors[name]) for name in sorted(tensors)}


def _info(info: Any) -> TensorInfo:
    sizes = [dim.size if dim.size >= 0 else None for dim in info.tensor_shape.dim]
    shape = None if info.tensor_shape.unknown_rank else tuple(sizes)
    return TensorInfo(info.name, tf.as_dtype(info.dtype), shape)


def _checkpoint_keys(meta: Any) -> dict[str, str]:
    """Return variable -> name in the checkpoint, from the graph that would restore the variables."""
    name = node_of(meta.saver_def.restore_op_name)
    restore = next((node for node in meta.graph_def.node if node.name == name), None)
    if restore is None or restore.op not in _CALLS:  # TensorFlow 1 assigns in the graph itself.
        return dict(_find_assignments(meta.graph_def.node))
    called = restore.attr["f"].func.name
    for function in meta.graph_def.library.function:
        if function.signature.name == called:
            arguments = [argument.name for argument in function.signature.input_arg]
            variables = dict(zip(arguments, map(node_of, restore.input), strict=False))
            found = _find_assignments(function.node_def)
            keys = {variables[name]: key for name, key in found if name in variables}
            return _find_copied(meta.graph_def.node, keys) | keys
    return {}


def _find_copied(nodes: Iterable[Any], keys: Mapping[str, str]) -> dict[str, str]:
    """Return variable -> name in the checkpoint of variables that others are initialized with.

    Keras 3 saves its variables as copies: signatures read the originals, and the copies are restored.
    """
    by_name = {node.name: node for node in nodes}
    found = {}
    for node in by_name.values():
        if node.op in _ASSIGNMENTS and node.input[0] in keys:
            source = by_name.get(node_of(node.input[1]))
            if source is not None and source.op == "ReadVariableOp":
                found[node_of(source.input[0])] = keys[node.input[0]]
    return found


def _find_assignments(nodes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield (variable, name in the checkpoint) of each assignment of a restored tensor."""
    by_name = {node.name: node for node in nodes}
    for node in by_name.values():
        if node.op not in _ASSIGNMENTS:
            continue
        source = node.input[1]
        for _ in by_name:  # Nodes of a damaged graph can need themselves.
            passed = by_name.get(node_of(source))
            if passed is None or passed.op != "Identity":
                break
            source = passed.input[0]
        restored = by_name.get(node_of(source))
        if restored is None or restored.op != "RestoreV2":
            continue
        names = by_name.get(node_of(restored.input[1]))
        if names is not None and names.op == "Const":
            position = source.rpartition(":")[2]
            keys = tf.make_ndarray(names.attr["value"].tensor).reshape(-1)
            yield (
                node_of(node.input[0]),
                keys[int(position) if position.isdigit() else 0].decode(),
            )
