"""Conversion of a signature of a SavedModel to a graph with constant weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.classifiers.custom.graph_inlining import inline_calls, result_node
from tfdefense.classifiers.custom.graph_pruning import node_of, prune_to_output, replace_nodes
from tfdefense.classifiers.custom.random_draws import has_replaced_draws, replace_random_draws
from tfdefense.classifiers.custom.saved_model_file import SavedModelFile, TensorInfo, one_line
from tfdefense.errors import UserError, require
from tfdefense.utils.progress import print_line

_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


def freeze_signature(
    saved: SavedModelFile, feed: TensorInfo, fetch: TensorInfo
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the input and the output of a signature in a `tf.Graph` with constants for variables.

    Nothing of the SavedModel runs. The graph holds only what the output is computed from.

    Raises:
      UserError: the graph is damaged, or needs more than tensors and variables (tables, files).
    """
    try:
        return _freeze(saved, feed, fetch)
    except UserError:
        raise
    except Exception as error:  # TensorFlow has another exception for each kind of damage.
        raise UserError(
            f"--classifier={saved.path}: its graph cannot be read: {one_line(error)}"
        ) from error


def _freeze(
    saved: SavedModelFile, feed: TensorInfo, fetch: TensorInfo
) -> tuple[tf.Tensor, tf.Tensor]:
    pruned = prune_to_output(replace_random_draws(saved.graph), feed.tensor, fetch.tensor)
    inlined = inline_calls(pruned)
    output = f"{result_node(fetch.tensor)}:0"
    if node_of(output) not in {node.name for node in inlined.node}:
        output = fetch.tensor
    inlined = prune_to_output(inlined, feed.tensor, output)
    if has_replaced_draws(inlined):
        print_line(
            f"Classifier {saved.path}: its graph augments images at random (it was exported in training"
            " mode). Random numbers are replaced by their means: no flip, no rotation."
        )
    constant = _with_constants(inlined, saved)

    def replace(node: Any) -> Any:
        is_feed = node.name == node_of(feed.tensor)
        return _placeholder(node.name, feed) if is_feed else node

    pruned = prune_to_output(replace_nodes(constant, replace), feed.tensor, output)
    require(
        {node_of(feed.tensor), node_of(output)} <= {node.name for node in pruned.node},
        f"--classifier={saved.path}: its output does not depend on its images.",
    )
    with tf.Graph().as_default() as graph:
        tf.compat.v1.import_graph_def(pruned, name="")
    return graph.get_tensor_by_name(feed.tensor), graph.get_tensor_by_name(output)


def _with_constants(graph: Any, saved: SavedModelFile) -> Any:
    """Return the graph with a constant in the place of each reading of a variable."""
    nodes = {node.name: node for node in graph.node}
    values = saved.read_variables([name for name, node in nodes.items() if node.op in _VARIABLES])

    def replace(node: Any) -> Any:
        if node.op == "ReadVariableOp":
            name = _source(node.input[0], nodes)
            return _constant(node.name, values[name]) if name in values else node
        is_read = node.op in ("VariableV2", "Variable")
        return _constant(node.name, values[node.name]) if is_read else node

    constant = replace_nodes(graph, replace)
    resources = {name for name, node in nodes.items() if node.op == "VarHandleOp"}
    users = [
        node.op
        for node in constant.node
        if node.op != "Identity" and resources & {_source(each, nodes) for each in node.input}
    ]
    require(
        not users,
        f"--classifier={saved.path}: reads variables inside {', '.join(sorted(set(users)))}, which is"
        " not supported. Give the .keras file, or export it without loops.",
    )
    return constant


def _source(tensor: str, nodes: Mapping[str, Any]) -> str:
    """Return the name of the node that a tensor comes from, through Identity nodes."""
    name = node_of(tensor)
    while name in nodes and nodes[name].op == "Identity":
        name = node_of(nodes[name].input[0])
    return name


def _placeholder(name: str, info: TensorInfo) -> Any:
    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = info.dtype.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(info.shape).as_proto())
    return node


def _constant(name: str, value: np.ndarray) -> Any:
    node = tf.compat.v1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return node
