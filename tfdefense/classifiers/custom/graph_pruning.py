"""Reduction of a TensorFlow graph to what one of its tensors is computed from.

Side effects (counters, seeds of random layers, moving averages, assertions) are ordered by control
dependencies. These are dropped, so that only the flow of data into the output remains.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf


def prune_to_output(graph: Any, feed: str, fetch: str) -> Any:
    """Return a GraphDef that computes one tensor from another, without side effects.

    Args:
      graph: a GraphDef; it does not change.
      feed: name of the input tensor, "images:0". What computes it is left out.
      fetch: name of the output tensor.
    """
    pruned = tf.compat.v1.GraphDef()
    pruned.versions.CopyFrom(graph.versions)
    kept = _reachable(graph.node, [fetch], stop=node_of(feed))
    pruned.node.extend(map(_without_control, kept))
    functions = {function.signature.name: function for function in graph.library.function}
    waiting, done = sorted(_called(pruned.node)), set()
    while waiting:
        name = waiting.pop()
        if name in done or name not in functions:
            continue
        done.add(name)
        function = _prune_function(functions[name])
        pruned.library.function.append(function)
        waiting += sorted(_called(function.node_def))
    return pruned


def node_of(tensor: str) -> str:
    """Return the name of the node that computes a tensor; "^" marks a control dependency."""
    return tensor.lstrip("^").split(":")[0]


def called_functions(node: Any) -> list[str]:
    """Return the names of the functions in the attributes of a NodeDef."""
    names = []
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "func":
            names.append(value.func.name)
        elif kind == "list":
            names += [function.name for function in value.list.func]
    return [name for name in names if name]


def _prune_function(function: Any) -> Any:
    pruned = type(function)()
    pruned.CopyFrom(function)
    pruned.control_ret.clear()
    del pruned.signature.control_output[:]
    del pruned.node_def[:]
    kept = _reachable(function.node_def, function.ret.values())
    pruned.node_def.extend(map(_without_control, kept))
    return pruned


def _reachable(nodes: Iterable[Any], tensors: Iterable[str], stop: str | None = None) -> list[Any]:
    """Return the nodes that the tensors are computed from, in their order; none before `stop`."""
    nodes = list(nodes)
    by_name = {node.name: node for node in nodes}
    waiting, found = [node_of(tensor) for tensor in tensors], set()
    while waiting:
        name = waiting.pop()
        if name in found or name not in by_name:
            continue
        found.add(name)
        if name != stop:
            waiting += [node_of(each) for each in by_name[name].input if not each.startswith("^")]
    return [node for node in nodes if node.name in found]


def _without_control(node: Any) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    copy.device = ""  # A device of the computer that saved the graph.
    del copy.input[:]
    copy.input.extend(each for each in node.input if not each.startswith("^"))
    return copy


def _called(nodes: Iterable[Any]) -> set[str]:
    return {name for node in nodes for name in called_functions(node)}


def replace_nodes(graph: Any, replace: Callable[[Any], Any]) -> Any:
    """Return a copy of a GraphDef in which `replace` returned the nodes of the main graph."""
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph)
    del copy.node[:]
    copy.node.extend(replace(node) for node in graph.node)
    return copy


def canonical_graph(graph: Any, feed: str, fetch: str) -> tuple[bytes, str, str]:
    """Return a GraphDef as bytes that are equal for equal graphs, and the new names of two tensors.

    Nodes are in the order in which the output needs them, and numbered. Functions are named by a hash of
    the graph, because all graphs of a process share their functions. Attributes that refer to nodes or
    to Python functions are removed. One of them names a gradient function in Python that is missing
    here; without it, TensorFlow differentiates the operations of the node, with the same result.
    """
    graph = prune_to_output(graph, feed, fetch)
    nodes = nodes_in_order(graph, fetch)
    names = {node.name: f"node_{number}" for number, node in enumerate(nodes)}

    def renamed(tensor: str) -> str:
        node, colon, position = tensor.partition(":")
        return names[node] + colon + position

    for node in nodes:
        for attribute in ("_class", "_gradient_op_type"):
            node.attr.pop(attribute, None)
        inputs = [renamed(tensor) for tensor in node.input]
        del node.input[:]
        node.input.extend(inputs)
        node.name = names[node.name]
    del graph.node[:]
    graph.node.extend(nodes)
    functions = [function.signature.name for function in graph.library.function]
    positions = {name: f"function_{number}" for number, name in enumerate(functions)}
    graph = _rename_functions(graph, positions)
    digest = hashlib.blake2b(graph.SerializeToString(deterministic=True), digest_size=8).hexdigest()
    graph = _rename_functions(graph, {name: f"{name}_{digest}" for name in positions.values()})
    return graph.SerializeToString(deterministic=True), renamed(feed), renamed(fetch)


def nodes_in_order(graph: Any, fetch: str) -> list[Any]:
    """Return copies of the nodes, each after those that it needs."""
    by_name = {node.name: node for node in graph.node}
    waiting, order, seen = [(node_of(fetch), False)], [], set()
    while waiting:
        name, is_ready = waiting.pop()
        if is_ready:
            order.append(type(by_name[name]).FromString(by_name[name].SerializeToString()))
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(node_of(each), False) for each in reversed(by_name[name].input)]
    return order


def _rename_functions(graph: Any, names: Mapping[str, str]) -> Any:
    """Return a copy of a GraphDef in which the functions of its library have other names."""
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph)
    bodies = [function.node_def for function in copy.library.function]
    for node in (node for nodes in (copy.node, *bodies) for node in nodes):
        for value in node.attr.values():
            called = [value.func] if value.HasField("func") else list(value.list.func)
            for function in called:
                function.name = names.get(function.name, function.name)
    for function in copy.library.function:
        function.signature.name = names[function.signature.name]
    return copy
