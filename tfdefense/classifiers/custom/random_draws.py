"""Replacement of random draws in a graph by their means.

`model.export` of Keras 3 leaves RandomFlip, RandomRotation and similar layers in training mode. Their
mean does nothing to an image: no flip, a rotation by 0.
"""

from typing import Any

import numpy as np
import tensorflow as tf

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
_SUFFIX = "/mean_of_draws"


def replace_random_draws(graph: Any) -> Any:
    """Return a copy of a GraphDef whose floating-point random draws are constants."""
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph)
    _replace(copy.node, "")
    for function in copy.library.function:
        _replace(function.node_def, ":output:0")
    return copy


def has_replaced_draws(graph: Any) -> bool:
    """Return whether `replace_random_draws` replaced a node that is still in the graph."""
    functions = (function.node_def for function in graph.library.function)
    return any(node.name.endswith(_SUFFIX) for nodes in (graph.node, *functions) for node in nodes)


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
