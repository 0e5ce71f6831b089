"""Inlining of the functions that a TensorFlow graph calls."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_MAX_DEPTH = 100
_MAX_NODES = 1_000_000


def inline_calls(graph: Any) -> Any:
    """Return a GraphDef in which the bodies of functions replace the nodes that call them.

    Functions that loops and branches call remain functions.

    Args:
      graph: a GraphDef without control dependencies; it does not change.

    Raises:
      ValueError: functions call each other without end, or the graph becomes too large.
    """
    inliner = _Inliner(graph)
    inliner.expand(graph.node, "", 0)
    inlined = tf.compat.v1.GraphDef()
    inlined.versions.CopyFrom(graph.versions)
    inlined.library.CopyFrom(graph.library)
    for node in inliner.nodes:
        inputs = [inliner.resolve(tensor) for tensor in node.input]
        del node.input[:]
        node.input.extend(inputs)
        inlined.node.append(node)
    # Tensors of the main graph keep their names, also those that a call returned.
    for name, tensor in inliner.outputs.items():
        inlined.node.append(_identity(name, inliner.resolve(tensor), inliner))
    return inlined


class _Inliner:
    """Nodes of the inlined graph, and the tensors that stand for arguments and results."""

    def __init__(self, graph: Any) -> None:
        self.functions = {each.signature.name: each for each in graph.library.function}
        self.nodes: list[Any] = []
        self.outputs: dict[str, str] = {}
        self.dtypes: dict[str, int] = {}
        self._same: dict[str, str] = {}

    def expand(self, nodes: Any, prefix: str, depth: int) -> None:
        """Add nodes, whose names begin with `prefix` in the inlined graph."""
        if depth > _MAX_DEPTH or len(self.nodes) > _MAX_NODES:
            raise ValueError("its functions call each other too often")
        for node in nodes:
            inputs = [prefix + tensor for tensor in node.input]
            name = prefix + node.name
            called = node.attr["f"].func.name if node.op in _CALLS else node.op
            if called in self.functions:
                self._expand_call(name, inputs, self.functions[called], depth)
            else:
                copy = _with_inputs(node, dict(zip(node.input, inputs, strict=True)))
                copy.name = name
                self.nodes.append(copy)

    def _expand_call(self, name: str, inputs: list[str], function: Any, depth: int) -> None:
        inner = f"{name}/"
        arguments = [argument.name for argument in function.signature.input_arg]
        for argument, tensor in zip(arguments, inputs, strict=True):
            self._same[f"{inner}{argument}:0"] = tensor
        flat_names = _flat_names(function.node_def)
        for position, result in enumerate(function.signature.output_arg):
            nested = function.ret[result.name]
            tensor = inner + flat_names.get(nested, nested)
            self._same[f"{name}:{position}"] = tensor
            if depth == 0:
                self.outputs[f"{name}:{position}"] = tensor
                self.dtypes[f"{name}:{position}"] = result.type
        body = [_with_inputs(node, flat_names) for node in function.node_def]
        self.expand(body, inner, depth + 1)

    def resolve(self, tensor: str) -> str:
        """Return the tensor that is computed in the place of an argument or a result."""
        tensor = tensor if ":" in tensor else f"{tensor}:0"
        passed = set[str]()
        while tensor in self._same:
            if tensor in passed:
                raise ValueError(f"its tensor {tensor!r} needs itself")
            passed.add(tensor)
            following = self._same[tensor]
            tensor = following if ":" in following else f"{following}:0"
        return tensor


def _flat_names(nodes: Any) -> dict[str, str]:
    """Return "node:output:0", as inside functions, -> "node:0", as in graphs, of all outputs."""
    found = {}
    for node in nodes:
        definition = op_def_registry.get(node.op)
        if definition is None:
            raise ValueError(f"it has the operation {node.op}, which this TensorFlow does not have")
        position = 0
        for output in definition.output_arg:
            count = 1
            if output.number_attr:
                count = node.attr[output.number_attr].i
            elif output.type_list_attr:
                count = len(node.attr[output.type_list_attr].list.type)
            for number in range(count):
                found[f"{node.name}:{output.name}:{number}"] = f"{node.name}:{position}"
                position += 1
    return found


def _with_inputs(node: Any, names: Mapping[str, str]) -> Any:
    """Return a copy of a node whose inputs have other names."""
    copy = type(node)()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(names.get(tensor, tensor) for tensor in node.input)
    return copy


def _identity(name: str, tensor: str, inliner: _Inliner) -> Any:
    node = tf.compat.v1.NodeDef(name=result_node(name), op="Identity", input=[tensor])
    node.attr["T"].type = inliner.dtypes[name]
    return node


def result_node(tensor: str) -> str:
    """Return the name of the node that holds a tensor which a call returned in the main graph."""
    return f"result/{tensor.replace(':', '/')}"
