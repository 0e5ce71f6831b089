"""Conversion of TensorFlow graphs that compute in 16 bits to float32.

In float16 gradients below 6e-8 are 0. A confident model then has no gradient, and attacks that
follow it look weak.
"""

from typing import Any

import numpy as np
import tensorflow as tf

_SHORT = (tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum)
_FLOAT = tf.float32.as_datatype_enum
# Operations that need the bits of their input.
_BITWISE = ("Bitcast",)


def compute_graph_in_float32(graph: Any) -> Any:
    """Return a GraphDef in which float32 replaces float16 and bfloat16.

    Weights and constants keep their values. A graph that reads the bits of its tensors is returned
    as it is.

    Args:
      graph: a GraphDef; it does not change.
    """
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph)
    bodies = [copy.node, *(function.node_def for function in copy.library.function)]
    nodes = [node for body in bodies for node in body]
    if any(node.op in _BITWISE for node in nodes):
        return graph
    for node in nodes:
        _convert_attributes(node.attr)
    for function in copy.library.function:
        _convert_attributes(function.attr)
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            if argument.type in _SHORT:
                argument.type = _FLOAT
            for element in argument.handle_data:  # Of a list of tensors.
                element.dtype = _FLOAT if element.dtype in _SHORT else element.dtype
    return copy


def _convert_attributes(attributes: Any) -> None:
    for value in attributes.values():
        kind = value.WhichOneof("value")
        if kind == "type" and value.type in _SHORT:
            value.type = _FLOAT
        elif kind == "list":
            value.list.type[:] = [_FLOAT if each in _SHORT else each for each in value.list.type]
            for called in value.list.func:
                _convert_attributes(called.attr)
        elif kind == "func":
            _convert_attributes(value.func.attr)
        elif kind == "tensor" and value.tensor.dtype in _SHORT:
            array = np.asarray(tf.make_ndarray(value.tensor), np.float32)
            value.tensor.CopyFrom(tf.make_tensor_proto(array))
