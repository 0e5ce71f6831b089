"""Conversion of TensorFlow graphs that compute in 16 bits to float32.

In float16 gradients below 6e-8 are 0: a confident model has no gradient, and attacks that follow it
look weak. bfloat16 rounds values to 8 significant bits.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.utils.progress import print_line

_SIXTEEN_BITS = (tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum)
_FLOAT = tf.float32.as_datatype_enum
# Operations that read or write the bits of a tensor.
_BITWISE = ("Bitcast", "DecodeRaw", "DecodePaddedRaw", "ParseTensor")


def compute_graph_in_float32(graph: Any) -> Any:
    """Return a GraphDef in which float32 replaces float16 and bfloat16.

    Weights and constants keep their values. A graph without 16 bits is returned as it is, and so is one
    that reads the bits of such tensors; then a line says so.

    Args:
      graph: a GraphDef; it does not change.
    """
    if not any(_has_sixteen_bits(node.attr) for node in _all_nodes(graph)):
        return graph
    for node in _all_nodes(graph):
        if node.op in _BITWISE and _has_sixteen_bits(node.attr):
            print_line(
                f"The model computes in 16 bits and reads them ({node.op}), so it is attacked in 16"
                " bits: small gradients may be 0, and attacks look weaker than they are."
            )
            return graph
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph)
    for node in _all_nodes(copy):
        _convert_attributes(node.attr)
    for function in copy.library.function:
        _convert_attributes(function.attr)
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            if argument.type in _SIXTEEN_BITS:
                argument.type = _FLOAT
            for element in argument.handle_data:  # Of a list of tensors.
                element.dtype = _FLOAT if element.dtype in _SIXTEEN_BITS else element.dtype
    return copy


def _all_nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _has_sixteen_bits(attributes: Any) -> bool:
    return any(
        kind in _SIXTEEN_BITS
        for value in attributes.values()
        for kind in (value.type, value.tensor.dtype, *value.list.type)
    )


def _convert_attributes(attributes: Any) -> None:
    for value in attributes.values():
        kind = value.WhichOneof("value")
        if kind == "type" and value.type in _SIXTEEN_BITS:
            value.type = _FLOAT
        elif kind == "list":
            value.list.type[:] = [
                _FLOAT if each in _SIXTEEN_BITS else each for each in value.list.type
            ]
            for called in value.list.func:
                _convert_attributes(called.attr)
        elif kind == "func":
            _convert_attributes(value.func.attr)
        elif kind == "tensor" and value.tensor.dtype in _SIXTEEN_BITS:
            array = np.asarray(tf.make_ndarray(value.tensor), np.float32)
            value.tensor.CopyFrom(tf.make_tensor_proto(array))
