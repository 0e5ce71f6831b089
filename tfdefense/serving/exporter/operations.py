"""Operations of an exported graph, and the oldest TensorFlow that has them all."""

import csv
import dataclasses
import functools
import importlib.resources
import re
from collections.abc import Iterable
from pathlib import Path

from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2

from tfdefense.classifiers.custom.graph_pruning import called_functions, node_of
from tfdefense.serving.core.model_directory import SAVED_MODEL_FILE

_TABLE = "operations.csv"

Version = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class GraphRequirements:
    """Requirements of a graph on the program that loads it.

    Attributes:
      operations: names of all operations, those in functions included, in alphabetical order.
      oldest: oldest version, such as "2.8", with all operations and their arguments; None if one is
        in no version of the table.
      reasons: operations and arguments that the version before `oldest` lacks, such as
        "VarHandleOp (debug_name)"; those that no version has if `oldest` is None.
    """

    operations: tuple[str, ...]
    oldest: str | None
    reasons: tuple[str, ...]


def graph_requirements(path: Path) -> GraphRequirements:
    """Return the requirements of a SavedModel.

    Args:
      path: directory of the SavedModel.
    """
    used = _used_arguments(path)
    return requirements_of(used)


def requirements_of(used: dict[str, set[str]]) -> GraphRequirements:
    """Return the requirements of operations.

    Args:
      used: operation -> names of the attributes that a graph gives it.
    """
    table = _read_table()
    since: dict[str, Version | None] = {}
    for operation, attributes in used.items():
        known = table.get(operation, {})
        since[operation] = known.get("")
        since |= {
            f"{operation} ({name})": known.get(name) for name in attributes if operation in table
        }
    unknown = sorted(name for name, version in since.items() if version is None)
    operations = tuple(sorted(used))
    if unknown:
        return GraphRequirements(operations, None, tuple(unknown))
    oldest = max((version for version in since.values() if version), default=table_versions()[0])
    reasons = sorted(name for name, version in since.items() if version == oldest)
    is_limited = oldest != table_versions()[0]
    return GraphRequirements(
        operations, f"{oldest[0]}.{oldest[1]}", tuple(reasons) if is_limited else ()
    )


def signature_operations(path: Path) -> dict[str, frozenset[str]]:
    """Return the operations that each signature needs, by name of the signature.

    All operations of a called function count, also those of outputs that the caller ignores. Not
    those that restore the weights.

    Args:
      path: directory of the SavedModel.
    """
    (meta_graph,) = _read_saved_model(path).meta_graphs
    graph = meta_graph.graph_def
    nodes = {node.name: node for node in graph.node}
    functions = {each.signature.name: each.node_def for each in graph.library.function}

    def operations(outputs: Iterable[str]) -> frozenset[str]:
        found: dict[str, node_def_pb2.NodeDef] = {}
        waiting = [node_of(output) for output in outputs]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = nodes[name]
                waiting += map(node_of, nodes[name].input)
        needed, called = list(found.values()), set[str]()
        new = needed
        while new:
            names = {name for node in new for name in called_functions(node)} - called
            called |= names
            new = [node for name in names for node in functions[name]]
            needed += new
        return frozenset(node.op for node in needed)

    return {
        name: operations(output.name for output in signature.outputs.values())
        for name, signature in meta_graph.signature_def.items()
        if not name.startswith("__")
    }


@functools.cache
def table_versions() -> tuple[Version, ...]:
    """Return the versions that the table was made from, in ascending order."""
    first_line = _table_text().partition("\n")[0]
    return tuple(map(_parse_version, re.findall(r"\d+\.\d+", first_line)))


def _read_saved_model(path: Path) -> saved_model_pb2.SavedModel:
    return saved_model_pb2.SavedModel.FromString((path / SAVED_MODEL_FILE).read_bytes())


def _used_arguments(path: Path) -> dict[str, set[str]]:
    """Return the attributes of each operation; those that start with "_" are allowed everywhere."""
    used: dict[str, set[str]] = {}
    for meta_graph in _read_saved_model(path).meta_graphs:
        graph = meta_graph.graph_def
        functions = [node for function in graph.library.function for node in function.node_def]
        for node in [*graph.node, *functions]:
            attributes = {name for name in node.attr if not name.startswith("_")}
            used.setdefault(node.op, set()).update(attributes)
    return used


@functools.cache
def _read_table() -> dict[str, dict[str, Version]]:
    """Return operation -> argument -> oldest version; the argument "" is the operation itself."""
    lines = [line for line in _table_text().splitlines() if not line.startswith("#")]
    table = {}
    for row in csv.DictReader(lines):
        arguments = (each.partition("@") for each in row["arguments"].split())
        table[row["operation"]] = {"": _parse_version(row["since"])} | {
            name: _parse_version(version or row["since"]) for name, _, version in arguments
        }
    return table


def _table_text() -> str:
    return importlib.resources.files(__package__).joinpath(_TABLE).read_text(encoding="utf-8")


def _parse_version(text: str) -> Version:
    major, minor = text.split(".")
    return int(major), int(minor)
