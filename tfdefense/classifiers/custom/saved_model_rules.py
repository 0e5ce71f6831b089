"""Judgement of a SavedModel before TensorFlow loads it.

Loading runs parts of the model: functions that create and initialize its resources, functions that
restore them, and the initializers of SavedModels of TensorFlow 1. They are judged from
`saved_model.pb` alone. A custom classifier is read without loading it, but a file that acts when it
is loaded is refused all the same. The inference graph is judged after it was pruned: see
`graph_rules`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorflow.core.framework import variable_pb2

from tfdefense.classifiers.custom.graph_operations import (
    LOADING_OPERATIONS,
    SERVING_OPERATIONS,
    SIGNATURE_OPERATIONS,
)
from tfdefense.classifiers.custom.graph_pruning import called_functions, node_of
from tfdefense.classifiers.custom.graph_rules import (
    GraphJudge,
    ancestors_of,
)
from tfdefense.classifiers.custom.saved_model_file import parse_saved_model
from tfdefense.errors import require

# Functions with these names are attached by Keras 2 to its layers; loading does not call them.
_NOT_CALLED = ("__call__", "_default_save_signature")
_INIT_SIGNATURE = "__saved_model_init_op"
# Functions that save and restore variables. They keep state, so TensorFlow does not run them early.
_SAVER_OPERATIONS = frozenset(
    {"DisableCopyOnRead", "MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"}
)
# Restoring the variables of a SavedModel of TensorFlow 1 reads its own checkpoint.
_RESTORING_OPERATIONS = LOADING_OPERATIONS | {"RestoreV2", "ShardedFilename", "StringJoin"}


def require_safe_loading(path: Path, place: str) -> None:
    """Raise `UserError` if loading a SavedModel would run an operation that may not run.

    Args:
      path: the directory.
      place: the model, for the error message.

    Raises:
      UserError: loading would run another operation; or `saved_model.pb` is damaged, is not the file
        that TensorFlow would read, or holds more graphs of objects than TensorFlow writes.
    """
    require(
        not (path / "saved_model.cpb").exists(),
        f"{place}: holds saved_model.cpb, a SavedModel in several parts, which is not supported.",
    )
    meta_graphs = parse_saved_model(path, place).meta_graphs
    with_objects = [each for each in meta_graphs if each.HasField("object_graph_def")]
    # With several, TensorFlow ignores the objects and runs the initializers of TensorFlow 1.
    require(
        not with_objects or len(meta_graphs) == 1,
        f"{place}: holds {len(meta_graphs)} graphs, one of them with objects; TensorFlow writes objects"
        " in files with one graph only.",
    )
    for meta_graph in meta_graphs:
        if with_objects:
            _require_safe_objects(meta_graph, place)
        else:
            _require_safe_initializers(meta_graph, place)


def require_safe_signatures(path: Path, place: str) -> None:
    """Raise `UserError` if an exported pipeline contains another operation.

    All nodes and functions are judged, also those that nothing needs: TensorFlow imports them, and
    computes the shapes in them from constant parts, which it runs.

    Args:
      path: the directory, which `require_safe_loading` has accepted.
      place: the model, for the error message.
    """
    for meta_graph in parse_saved_model(path, place).meta_graphs:
        graph = meta_graph.graph_def
        imported = GraphJudge(
            graph.library.function, SIGNATURE_OPERATIONS | _SAVER_OPERATIONS, place
        )
        imported.require_allowed(graph.node)
        for name in imported.functions:
            imported.require_allowed_function(name)
        judge = GraphJudge(graph.library.function, SERVING_OPERATIONS, place)
        for name, signature in meta_graph.signature_def.items():
            if name != _INIT_SIGNATURE:
                fetches = [node_of(output.name) for output in signature.outputs.values()]
                judge.require_allowed(ancestors_of(fetches, graph))
        for node in meta_graph.object_graph_def.nodes:
            if node.WhichOneof("kind") == "bare_concrete_function":
                judge.require_allowed_function(node.bare_concrete_function.concrete_function_name)


def require_safe_signature(graph: Any, fetch: str, place: str) -> None:
    """Raise `UserError` if a signature of a classifier contains an operation that accesses files or code.

    Side effects are judged too, although they are dropped before the graph runs: a classifier has no
    reason to access files.

    Args:
      graph: the GraphDef, as it is in the file.
      fetch: name of the output of the signature.
      place: the model, for the error message.
    """
    judge = GraphJudge(graph.library.function, SIGNATURE_OPERATIONS, place)
    judge.require_allowed(ancestors_of([node_of(fetch)], graph))


def _require_safe_objects(meta_graph: Any, place: str) -> None:
    functions = meta_graph.graph_def.library.function
    judge = GraphJudge(functions, LOADING_OPERATIONS, place)
    for name in sorted(set(_functions_called(meta_graph.object_graph_def, place))):
        judge.require_allowed_function(name)


def _functions_called(objects: Any, place: str) -> Iterator[str]:
    """Yield the functions that loading the objects can call."""
    for node in objects.nodes:
        is_plain = node.WhichOneof("kind") in ("user_object", "function")
        for child in node.children:
            is_method = child.local_name.startswith("_") and child.local_name not in _NOT_CALLED
            if is_method or not is_plain:
                yield from _concrete_functions(objects, child.node_id, place)
        for saveable in node.saveable_objects.values():
            yield from _concrete_functions(objects, saveable.save_function, place)
            yield from _concrete_functions(objects, saveable.restore_function, place)


def _concrete_functions(objects: Any, node_id: int, place: str) -> Iterator[str]:
    """Yield the functions of an object, if it is one of functions."""
    require(0 <= node_id < len(objects.nodes), f"{place}: saved_model.pb is damaged.")
    node = objects.nodes[node_id]
    kind = node.WhichOneof("kind")
    if kind == "function":
        yield from node.function.concrete_functions
    elif kind == "bare_concrete_function":
        yield node.bare_concrete_function.concrete_function_name


def _require_safe_initializers(meta_graph: Any, place: str) -> None:
    """Judge what the loader of TensorFlow 1's SavedModels runs."""
    graph, saver = meta_graph.graph_def, meta_graph.saver_def
    functions = graph.library.function
    judge = GraphJudge(functions, LOADING_OPERATIONS, place)
    judge.require_allowed(ancestors_of(map(node_of, _initializers(meta_graph)), graph))
    restoring = ancestors_of([node_of(saver.restore_op_name)], graph)
    GraphJudge(functions, _RESTORING_OPERATIONS, place).require_allowed(restoring)
    own_file = _names_of_own_file(saver.filename_tensor_name, graph)
    for node in restoring:
        for name in called_functions(node):
            judge.require_allowed_function(name)  # It cannot be seen which file a function reads.
        require(
            node.op != "RestoreV2" or node_of(node.input[0]) in own_file,
            f"{place}: its restore function reads another file.",
        )


def _initializers(meta_graph: Any) -> Iterator[str]:
    """Yield the names of the tensors and operations that initialize a graph."""
    for output in meta_graph.signature_def[_INIT_SIGNATURE].outputs.values():
        yield output.name
    for name, collection in meta_graph.collection_def.items():
        yield from collection.node_list.value
        if name.endswith("variables"):
            for content in collection.bytes_list.value:
                yield variable_pb2.VariableDef.FromString(content).initializer_name


def _names_of_own_file(filename: str, graph: Any) -> set[str]:
    """Return the nodes that pass on the name of the SavedModel's own checkpoint."""
    found = {node_of(filename)}
    for _ in range(3):  # At most an Identity or a PlaceholderWithDefault or two.
        found |= {
            node.name
            for node in graph.node
            if node.op in ("Identity", "ShardedFilename") and node_of(node.input[0]) in found
        }
    return found
