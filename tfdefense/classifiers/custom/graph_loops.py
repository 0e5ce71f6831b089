"""Loops in foreign graphs: they must count their steps, and are stopped after a number of them.

A loop need not end, and whether it ends can depend on the images, so no trial shows it. TensorFlow's own
loops (`tf.while_loop`, `tf.map_fn`, recurrent layers) have a counter as their first variable, from 0 in
steps of 1. That a loop has it can be read from its graph. Its condition is then extended: the counter
must be below a limit. The gradient of a loop has as many steps as its counter says.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from tfdefense.errors import require

LOOPS = ("While", "StatelessWhile")
MAX_STEPS = 4096
BOUND = "tfdefense_bound"  # In the names of added nodes, which errors mention.
_ADDITIONS = ("Add", "AddV2")
_BOOL, _INT32 = tf.bool.as_datatype_enum, tf.int32.as_datatype_enum


def require_counted_loops(graph: Any, place: str) -> None:
    """Raise `UserError` unless all loops of a GraphDef, and of its functions, count their steps.

    Args:
      graph: the GraphDef.
      place: the model, for the error message.
    """
    functions = {function.signature.name: function for function in graph.library.function}
    for nodes in (graph.node, *(function.node_def for function in functions.values())):
        for node in nodes:
            require(
                node.op not in LOOPS or _counts_steps(node, nodes, functions),
                f"{place}: its loop {node.name!r} does not count its steps, so it need not end. If you"
                " trust it: --unsafe_load.",
            )


def bound_loops(graph: Any) -> Any:
    """Return a copy of a GraphDef whose loops raise an error after `MAX_STEPS` steps.

    Args:
      graph: a GraphDef that `require_counted_loops` accepts.
    """
    bounded = tf.compat.v1.GraphDef()
    bounded.CopyFrom(graph)
    functions = {function.signature.name: function for function in bounded.library.function}
    added: dict[str, Any] = {}
    for nodes in (bounded.node, *(function.node_def for function in functions.values())):
        for node in nodes:
            if node.op in LOOPS:
                condition = node.attr["cond"].func.name
                name = f"{condition}_bounded"
                added.setdefault(name, _bounded_condition(functions[condition], name))
                node.attr["cond"].func.name = name
    bounded.library.function.extend(added.values())
    return bounded


def _counts_steps(loop: Any, nodes: Iterable[Any], functions: Mapping[str, Any]) -> bool:
    """Return whether the first variable of a loop is 0 at first, and grows by 1 in each step."""
    condition = functions.get(loop.attr["cond"].func.name)
    body = functions.get(loop.attr["body"].func.name)
    if condition is None or body is None or not loop.input or not body.signature.output_arg:
        return False
    has_types = (
        [each.type for each in condition.signature.output_arg] == [_BOOL]
        and condition.signature.input_arg[0].type == _INT32
        and body.signature.input_arg[0].type == _INT32
        and body.signature.output_arg[0].type == _INT32
    )
    start = _source(loop.input[0], {node.name: node for node in nodes})
    inside = {node.name: node for node in body.node_def}
    step = _source(body.ret[body.signature.output_arg[0].name], inside)
    if not has_types or _constant(start) != 0 or step is None or step.op not in _ADDITIONS:
        return False
    counter = body.signature.input_arg[0].name
    terms = [tensor for tensor in step.input if not tensor.startswith("^")]
    ends = [_end(tensor, inside) for tensor in terms]
    others = [_source(tensor, inside) for tensor in terms]
    return (ends[0] == counter and _constant(others[1]) == 1) or (
        ends[1] == counter and _constant(others[0]) == 1
    )


def _end(tensor: str, nodes: Mapping[str, Any]) -> str:
    """Return the name of the node or argument that a tensor comes from, through Identity nodes."""
    name = tensor.partition(":")[0]
    for _ in range(len(nodes)):
        if name not in nodes or nodes[name].op != "Identity":
            break
        name = nodes[name].input[0].partition(":")[0]
    return name


def _source(tensor: str, nodes: Mapping[str, Any]) -> Any:
    """Return the node that a tensor comes from, through Identity nodes; None if it is an argument."""
    return nodes.get(_end(tensor, nodes))


def _constant(node: Any) -> int | None:
    """Return the value of a node that is a single constant of type int32; else None."""
    if node is None or node.op != "Const" or node.attr["value"].tensor.dtype != _INT32:
        return None
    tensor = node.attr["value"].tensor
    if tensor.tensor_shape.dim or tensor.tensor_shape.unknown_rank:
        return None
    return int(tf.make_ndarray(tensor))


def _bounded_condition(condition: Any, name: str) -> Any:
    """Return a copy of the condition of a loop that also needs a counter below the limit.

    Above it, an element is read that does not exist, which is an error; where TensorFlow does not check
    that (on GPUs), the element is False, and the loop ends.
    """
    bounded = type(condition)()
    bounded.CopyFrom(condition)
    bounded.signature.name = name
    counter = bounded.signature.input_arg[0].name
    result = bounded.signature.output_arg[0].name
    original = bounded.ret[result]
    prefix = BOUND
    while any(node.name.startswith(prefix) for node in condition.node_def):
        prefix += "_"

    def add(name: str, op: str, inputs: Iterable[str], **types: int) -> str:
        node = bounded.node_def.add(name=f"{prefix}_{name}", op=op, input=inputs)
        for attribute, dtype in types.items():
            node.attr[attribute].type = dtype
        return node.name

    def constant(name: str, value: Any, dtype: tf.DType) -> str:
        node = add(name, "Const", (), dtype=dtype.as_datatype_enum)
        tensor = tf.make_tensor_proto(value, dtype)
        bounded.node_def[-1].attr["value"].tensor.CopyFrom(tensor)
        return f"{node}:output:0"

    limit = constant("limit", MAX_STEPS, tf.int32)
    is_over = add("is_over", "GreaterEqual", [counter, limit], T=_INT32)
    index = add("index", "Cast", [f"{is_over}:z:0"], SrcT=_BOOL, DstT=_INT32)
    within = constant("within", [True], tf.bool)
    axis = constant("axis", 0, tf.int32)
    element = add(
        "element",
        "GatherV2",
        [within, f"{index}:y:0", axis],
        Tparams=_BOOL,
        Tindices=_INT32,
        Taxis=_INT32,
    )
    both = add("both", "LogicalAnd", [original, f"{element}:output:0"])
    # TensorFlow takes every array of more than one element for True.
    shape = constant("shape", [], tf.int32)
    single = add("single", "Reshape", [f"{both}:z:0", shape], T=_BOOL, Tshape=_INT32)
    bounded.ret[result] = f"{single}:output:0"
    return bounded
