"""Judgement of foreign graphs before any part of them runs.

A graph is judged from its outputs: all operations that they need, through data, control
dependencies and functions, must be in an allow-list. Operations that nothing needs are not run and
are not judged.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from tfdefense.classifiers.custom.graph_loops import LOOPS, MAX_STEPS, require_counted_loops
from tfdefense.classifiers.custom.graph_operations import BOUNDED_OPERATIONS
from tfdefense.classifiers.custom.graph_pruning import called_functions, node_of
from tfdefense.errors import require

_MAX_OPERATIONS = 5_000_000
_MAX_REPEATED = 10**10  # In loops, with the largest number of steps of each.
_MAX_DEPTH = 200
_SHOWN = 8
# Operations that converters write for honest models, and what to do about them.
_ADVICE = {
    "XlaCallModule": " XlaCallModule holds a compiled program (StableHLO), which cannot be judged."
    " Convert the model to TensorFlow's operations, as in docs/guides/from-pytorch.md.",
}


def needed_graph(graph: Any, fetch: str) -> Any:
    """Return the part of a GraphDef that computes a tensor, as it is judged and imported.

    Functions that nothing calls are dropped, because TensorFlow could compute constant parts of them
    while it imports them. Gradient functions that the graph names for itself are dropped too:
    TensorFlow differentiates the operations.

    Args:
      graph: the GraphDef.
      fetch: name of the tensor, such as "logits:0".

    Raises:
      UserError: the graph has no such tensor.
    """
    name = node_of(fetch)
    nodes = {node.name: node for node in graph.node}
    require(name in nodes, f"the graph has no tensor {fetch}.")
    needed = _ancestors([name], nodes)
    part = tf.compat.v1.GraphDef(versions=graph.versions)
    part.node.extend(node for node in graph.node if node.name in needed)
    part.library.function.extend(_reached_functions(part.node, graph.library.function))
    functions = (function.node_def for function in part.library.function)
    for each in (part.node, *functions):
        for node in each:
            node.attr.pop("_gradient_op_type", None)
    return part


def _reached_functions(nodes: Iterable[Any], functions: Iterable[Any]) -> list[Any]:
    """Return the functions that nodes call, at any depth, in their order."""
    functions = list(functions)
    by_name = {function.signature.name: function for function in functions}
    waiting, found = list(nodes), set[str]()
    while waiting:
        node = waiting.pop()
        for name in (node.op, *called_functions(node)):
            if name in by_name and name not in found:
                found.add(name)
                waiting += by_name[name].node_def
    return [function for function in functions if function.signature.name in found]


def require_allowed_graph(graph: Any, place: str) -> None:
    """Raise `UserError` unless all nodes of a GraphDef, with the functions they call, may run.

    Args:
      graph: the GraphDef; see `needed_graph`.
      place: the model, for the error message, such as "--classifier=FILE".

    Raises:
      UserError: it contains another operation, functions that call themselves, a loop that does not
        count its steps, or too many operations.
    """
    judge = GraphJudge(graph.library.function, BOUNDED_OPERATIONS, place)
    repeated = judge.require_allowed(graph.node)
    require_counted_loops(graph, place)
    require(
        repeated <= _MAX_REPEATED,
        f"{place}: its loops can run {repeated:.3g} operations; at most {_MAX_REPEATED:.3g} are"
        " accepted. If you trust it: --unsafe_load.",
    )


class _Size(NamedTuple):
    """Number of operations of a graph, and of those that its loops run at most."""

    operations: int
    repeated: int


class GraphJudge:
    """Judgement of the nodes and functions of one graph by one allow-list.

    Args:
      functions: the FunctionDefs that nodes can call.
      allowed: names of operations.
      place: the model, for error messages.
    """

    def __init__(self, functions: Iterable[Any], allowed: Collection[str], place: str) -> None:
        self.functions = {function.signature.name: function for function in functions}
        self.allowed = allowed
        self.place = place
        self._counts: dict[str, _Size] = {}

    def require_allowed(self, nodes: Iterable[Any]) -> int:
        """Return the number of operations in loops that run at most, by `MAX_STEPS` of each loop.

        Raises:
          UserError: a node, or a function that it calls, may not run.
        """
        forbidden: set[str] = set()
        size = self._count(nodes, forbidden, ())
        self._require_small(size.operations)
        self._require_none(forbidden)
        return size.repeated

    def require_allowed_function(self, name: str) -> None:
        """Raise `UserError` unless a function may run."""
        forbidden: set[str] = set()
        self._require_small(self._count_function(name, forbidden, ()).operations)
        self._require_none(forbidden)

    def _count(self, nodes: Iterable[Any], forbidden: set[str], calls: tuple[str, ...]) -> "_Size":
        """Return the number of operations that run, and add operations that may not."""
        operations, repeated = 0, 0
        for node in nodes:
            operations += 1
            if node.op in self.functions:  # A function called like an operation.
                size = self._count_function(node.op, forbidden, calls)
                operations, repeated = operations + size.operations, repeated + size.repeated
            elif node.op not in self.allowed:
                forbidden.add(node.op)
            called = [
                self._count_function(name, forbidden, calls) for name in called_functions(node)
            ]
            times = MAX_STEPS if node.op in LOOPS else 0
            for size in called:
                operations += size.operations
                repeated += size.repeated + times * (size.operations + size.repeated)
        return _Size(operations, repeated)

    def _count_function(self, name: str, forbidden: set[str], calls: tuple[str, ...]) -> "_Size":
        require(
            name not in calls and len(calls) < _MAX_DEPTH,
            f"{self.place}: its function {name!r} calls itself, so it need not end.",
        )
        if name not in self._counts:
            require(name in self.functions, f"{self.place}: damaged: it has no function {name!r}.")
            nodes = self.functions[name].node_def
            found: set[str] = set()
            self._counts[name] = self._count(nodes, found, (*calls, name))
            forbidden |= found
        return self._counts[name]

    def _require_small(self, operations: int) -> None:
        require(
            operations <= _MAX_OPERATIONS,
            f"{self.place}: its functions call each other {operations:.3g} times; at most"
            f" {_MAX_OPERATIONS:,} operations are accepted.",
        )

    def _require_none(self, forbidden: set[str]) -> None:
        names = sorted(forbidden)
        shown = ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
        advice = "".join(_ADVICE.get(name, "") for name in names)
        require(
            not names,
            f"{self.place}: contains {shown}. A classifier may contain only operations that compute"
            " tensors from tensors; these can access files, call code, keep state or never end. If you"
            f" trust it: --unsafe_load.{advice}",
        )


def _ancestors(names: Iterable[str], nodes: Mapping[str, Any]) -> set[str]:
    """Return the names of the nodes that the given ones need, with themselves."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or name not in nodes:
            continue
        found.add(name)
        waiting += [node_of(value) for value in nodes[name].input]
    return found


def ancestors_of(names: Iterable[str], graph: Any) -> list[Any]:
    """Return the nodes of a GraphDef that the named nodes need, with themselves."""
    nodes = {node.name: node for node in graph.node}
    found = _ancestors(names, nodes)
    return [nodes[name] for name in sorted(found)]
