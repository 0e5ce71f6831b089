"""Make the table of TensorFlow's operations by version from wheels, without installing them.

    pip download --no-deps --only-binary=:all: --python-version 3.9 --platform manylinux_2_17_x86_64 \
        -d wheels tensorflow-cpu==2.18.0      # one wheel for each version
    python benchmarks/operation_table.py wheels tfdefense/serving/exporter/operations.csv

The source are the generated Python wrappers `tensorflow/python/ops/gen_*_ops.py`: each calls its
operation by name and lists its attributes. Internal operations, whose names start with an
underscore, have no wrapper; SavedModels do not contain them.
"""

import ast
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_WHEEL = re.compile(r"tensorflow(?:_cpu)?-(\d+)\.(\d+)\.\d+-.*\.whl")
_WRAPPERS = re.compile(r"tensorflow/python/ops/gen_\w+\.py")


def main(wheels: Path, table: Path) -> None:
    found = {
        (int(match[1]), int(match[2])): path
        for path in wheels.iterdir()
        if (match := _WHEEL.fullmatch(path.name))
    }
    versions = [f"{major}.{minor}" for major, minor in sorted(found)]
    operations = [read_operations(found[version]) for version in sorted(found)]
    rows = table_rows(versions, operations)
    header = [
        f"# TensorFlow's operations and their arguments, in the wheels {', '.join(versions)}.",
        "# Made by benchmarks/operation_table.py. An argument without a version is as old as its operation.",
        "operation,since,arguments",
    ]
    table.write_text("\n".join([*header, *rows, ""]), encoding="utf-8")
    print(f"{len(rows):,} operations of {len(versions)} versions")


def read_operations(wheel: Path) -> dict[str, set[str]]:
    """Return the names of inputs and attributes by operation."""
    operations: dict[str, set[str]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if _WRAPPERS.fullmatch(name):
                for operation, arguments in read_wrappers(archive.read(name).decode()):
                    operations.setdefault(operation, set()).update(arguments)
    return operations


def read_wrappers(source: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each operation that a function of the module runs, and names of its arguments."""
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        operation, arguments = None, set()
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                value = getattr(node.args[0], "value", None)
                if node.func.attr == "_apply_op_helper":
                    operation = value
                    arguments |= {each.arg for each in node.keywords if each.arg} - {"name"}
                elif node.func.attr == "execute" and isinstance(value, bytes):
                    operation = value.decode()
            elif _is_attribute_list(node):
                names = node.value.elts[::2]
                arguments |= {each.value for each in names if isinstance(each, ast.Constant)}
        if isinstance(operation, str):
            yield operation, arguments


def _is_attribute_list(node: ast.AST) -> bool:
    """Return whether a statement is `_attrs = ("name", value, "name", value, ...)`."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Tuple)
        and [getattr(target, "id", "") for target in node.targets] == ["_attrs"]
    )


def table_rows(versions: list[str], operations: list[dict[str, set[str]]]) -> Iterable[str]:
    """Return one line per operation: its oldest version, and its arguments with younger ones."""
    since: dict[str, str] = {}
    arguments: dict[str, dict[str, str]] = {}
    for version, found in zip(versions, operations, strict=True):
        for operation, names in found.items():
            since.setdefault(operation, version)
            for name in names:
                arguments.setdefault(operation, {}).setdefault(name, version)
    return [
        f"{operation},{since[operation]},"
        + " ".join(
            name if version == since[operation] else f"{name}@{version}"
            for name, version in sorted(arguments.get(operation, {}).items())
        )
        for operation in sorted(since)
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
