"""Replacement of random draws in a graph by their means.

`model.export` of Keras 3 leaves RandomFlip, RandomRotation and similar layers in training mode. The
mean of many does nothing to an image: no flip, a rotation by 0. That of others does, such as a zoom of
10 to 30 %: see `neutral_draws`. The mean of a dropout in training mode is not the dropout of inference,
so such a dropout is found.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.classifiers.custom.graph_pruning import node_of

_FLOATS = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
_UNIFORM = ("RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2")
_NORMAL = (
    "RandomStandardNormal",
    "StatelessRandomNormal",
    "StatelessRandomNormalV2",
    "StatelessTruncatedNormal",
    "StatelessTruncatedNormalV2",
    "TruncatedNormal",
)
# In the names of all operations that draw random numbers.
_WORDS = ("Random", "TruncatedNormal", "Multinomial", "StatelessShuffle")
_SUFFIX = "/mean_of_draws"


def replace_random_draws(graph: Any) -> Any:
    """Return a copy of a GraphDef whose floating-point random draws are constants."""
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph)
    _replace(copy.node, "")
    for function in copy.library.function:
        _replace(function.node_def, ":output:0")
    return copy


def has_draws(graph: Any) -> bool:
    """Return whether a GraphDef from `replace_random_draws` draws, or drew, a random number."""
    functions = (function.node_def for function in graph.library.function)
    return any(map(has_draw, itertools.chain(graph.node, *functions)))


def has_draw(node: Any) -> bool:
    """Return whether a node is a random draw, or the mean of a replaced one."""
    return node.name.endswith(_SUFFIX) or any(word in node.op for word in _WORDS)


def has_dropout(graph: Any) -> bool:
    """Return whether a graph drops activations at random, as `tf.nn.dropout` in training mode.

    Args:
      graph: a GraphDef from `replace_random_draws`, without function calls.
    """
    nodes = {node.name: node for node in graph.node}

    def is_mask(tensor: str) -> bool:
        """Return whether a tensor is true where a draw is at least the rate of a dropout."""
        node = nodes.get(node_of(tensor))
        if node is not None and node.op == "Cast":
            node = nodes.get(node_of(node.input[0]))
        return node is not None and node.op == "GreaterEqual" and _is_draw(node.input[0], nodes)

    for node in graph.node:
        selects = node.op in ("Select", "SelectV2") and is_mask(node.input[0])
        if selects or (node.op == "Mul" and any(map(is_mask, node.input))):
            return True
    return False


def _is_draw(tensor: str, nodes: Mapping[str, Any]) -> bool:
    """Return whether a tensor is a replaced draw, perhaps scaled and shifted."""
    node = nodes.get(node_of(tensor))
    while node is not None and node.op in ("Identity", "Mul", "AddV2"):
        node = nodes.get(node_of(node.input[0]))
    return node is not None and node.op == "Fill" and node_of(node.input[1]).endswith(_SUFFIX)


def _replace(nodes: Any, output: str) -> None:
    """Replace draws in place; `output` ends the name of the output of a node among these nodes."""
    for node in list(nodes):
        if node.op not in _UNIFORM + _NORMAL:
            continue
        # Attributes with their default values may be missing.
        dtype = node.attr["dtype"].type or tf.float32.as_datatype_enum
        index_type = node.attr["Tshape"].type or node.attr["T"].type or tf.int32.as_datatype_enum
        if tf.as_dtype(dtype) not in _FLOATS:
            continue
        constant = nodes.add(name=node.name + _SUFFIX, op="Const")
        value = np.asarray(0.0, tf.as_dtype(dtype).as_numpy_dtype)
        if node.op in _UNIFORM:  # A draw u flips an image if u <= 0.5.
            value = np.nextafter(value + value.dtype.type(0.5), value.dtype.type(1))
        constant.attr["dtype"].type = dtype
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        shape = node.input[0]
        node.op = "Fill"
        node.attr.clear()
        node.attr["T"].type = dtype
        node.attr["index_type"].type = index_type
        del node.input[:]
        node.input.extend([shape, constant.name + output])
