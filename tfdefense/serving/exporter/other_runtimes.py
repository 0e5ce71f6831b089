"""Support of an exported graph by OpenVINO and ONNX Runtime, from a table of tried exports."""

import csv
import dataclasses
import functools
import importlib.resources
from collections.abc import Iterable

_TABLE = "runtimes.csv"
AGREES, LACKS, UNTRIED = "agrees", "lacks", "untried"  # The values of the table.


@dataclasses.dataclass(frozen=True)
class RuntimeSupport:
    """Support of the operations of a signature by a runtime.

    Attributes:
      lacking: operations that the runtime cannot convert, in alphabetical order.
      untried: operations that are in no tried signature whose outputs agreed.
    """

    lacking: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """True if all operations are in tried signatures whose outputs agreed."""
        return not self.lacking and not self.untried


def tried_runtimes() -> tuple[str, ...]:
    """Return the names of the tried runtimes, with their versions."""
    return tuple(read_table())


def tried_operations() -> frozenset[str]:
    """Return the operations of all tried signatures."""
    return frozenset(operation for states in read_table().values() for operation in states)


def runtime_support(operations: Iterable[str]) -> dict[str, RuntimeSupport]:
    """Return the support by runtime.

    Args:
      operations: operations of one signature.
    """
    names = sorted(operations)

    def having(state: str, states: dict[str, str]) -> tuple[str, ...]:
        return tuple(name for name in names if states.get(name, UNTRIED) == state)

    return {
        runtime: RuntimeSupport(having(LACKS, states), having(UNTRIED, states))
        for runtime, states in read_table().items()
    }


@functools.cache
def read_table() -> dict[str, dict[str, str]]:
    """Return runtime -> operation -> one of `AGREES`, `LACKS` and `UNTRIED`."""
    text = importlib.resources.files(__package__).joinpath(_TABLE).read_text(encoding="utf-8")
    header, *rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    return {
        runtime: {row[0]: row[column] for row in rows}
        for column, runtime in enumerate(header)
        if column > 0
    }
