"""Conversion of a signature of a SavedModel to a graph with constant weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from tfdefense.classifiers.custom.graph_inlining import inline_calls, result_node
from tfdefense.classifiers.custom.graph_precision import compute_graph_in_float32
from tfdefense.classifiers.custom.graph_pruning import node_of, prune_to_output, replace_nodes
from tfdefense.classifiers.custom.graph_rules import require_allowed_graph
from tfdefense.classifiers.custom.neutral_draws import has_neutral_draws
from tfdefense.classifiers.custom.random_draws import (
    has_draws,
    has_dropout,
    replace_random_draws,
)
from tfdefense.classifiers.custom.saved_model_file import SavedModelFile, TensorInfo, model_reason
from tfdefense.errors import UserError, require
from tfdefense.utils.progress import print_line
from tfdefense.utils.trust import trusts_model_files

_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


def freeze_signature(
    saved: SavedModelFile, feed: TensorInfo, fetch: TensorInfo
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the input and the output of a signature in a `tf.Graph` with constants for variables.

    Nothing of the SavedModel runs. The graph holds only what the output is computed from. It computes in
    float32 where the SavedModel computes in 16 bits. It is judged
    before TensorFlow reads it, because TensorFlow computes constant parts of a graph while it reads it.

    Args:
      saved: the SavedModel.
      feed: the input.
      fetch: the output.

    Raises:
      UserError: the graph is damaged, contains an operation that may not run, or needs more than tensors
        and variables (tables, files).
    """
    try:
        return _freeze(saved, feed, fetch)
    except UserError:
        raise
    except Exception as error:  # TensorFlow has another exception for each kind of damage.
        raise UserError(
            f"--classifier={saved.path}: its graph cannot be read: {model_reason(error)}"
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
    require(
        not has_dropout(inlined),
        f"--classifier={saved.path}: a Dropout was saved in training mode. Export the model with"
        " training=False, in PyTorch after model.eval().",
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
    if not trusts_model_files():
        require_allowed_graph(pruned, f"--classifier={saved.path}")
    pruned = compute_graph_in_float32(pruned)
    with tf.Graph().as_default() as graph:
        tf.compat.v1.import_graph_def(pruned, name="")
    if has_draws(pruned):
        _require_neutral_draws(graph, saved, feed, output)
    return graph.get_tensor_by_name(feed.tensor), graph.get_tensor_by_name(output)


def _require_neutral_draws(
    graph: tf.Graph, saved: SavedModelFile, feed: TensorInfo, fetch: str
) -> None:
    """Raise `UserError` if the means of random numbers change images; else print a line about them."""
    about = f"{saved.path}: its graph augments images at random (it was exported in training mode)"
    require(
        has_neutral_draws(graph, feed.tensor, fetch, feed.shape),
        f"--classifier={about}, and the means of its random numbers change images too. Give the .keras"
        " file, or export the model with training=False.",
    )
    print_line(
        f"Classifier {about}. Random numbers are replaced by their means, which leave images as they are."
    )


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
    if not _variables_in_functions(constant):
        return constant
    # TensorFlow's own conversion also reads variables in the functions of loops and branches.
    data = convert_to_constants._ConverterData(constant)
    for name, value in values.items():
        if name in {node.name for node in constant.node}:
            dtype = tf.as_dtype(value.dtype).as_datatype_enum
            data.tensor_data[name] = convert_to_constants._TensorData(value, dtype, None)
    converted, _ = convert_to_constants._replace_variables_by_constants(data)
    _forget_shapes_of_variables(converted)
    users = _variables_in_functions(converted)
    require(
        not users,
        f"--classifier={saved.path}: reads variables inside {', '.join(sorted(users))}, which is not"
        " supported. Give the .keras file.",
    )
    return converted


def _forget_shapes_of_variables(graph: Any) -> None:
    """Remove what is stated about variables that a conversion has replaced by their values."""
    for node in graph.node:
        node.attr.pop("_output_shapes", None)
    for function in graph.library.function:
        function.arg_attr.clear()
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            argument.ClearField("handle_data")


def _variables_in_functions(graph: Any) -> set[str]:
    """Return the operations that get a variable, and not its value, as an input."""
    nodes = {node.name: node for node in graph.node}
    resources = {name for name, node in nodes.items() if node.op == "VarHandleOp"}
    return {
        node.op
        for node in graph.node
        if node.op != "Identity" and resources & {_source(each, nodes) for each in node.input}
    }


def _source(tensor: str, nodes: Mapping[str, Any]) -> str:
    """Return the name of the node that a tensor comes from, through Identity nodes."""
    name, passed = node_of(tensor), set[str]()
    while name in nodes and nodes[name].op == "Identity":
        if name in passed:
            raise ValueError(f"its node {name!r} needs itself")
        passed.add(name)
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
