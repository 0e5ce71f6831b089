"""Lines that commands print at their end."""

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tfdefense.evaluation import Report
from tfdefense.evaluation.report.render import to_text
from tfdefense.evaluation.report.surrogate_section import surrogate_table, surrogate_warnings
from tfdefense.evaluation.report.suspicion_section import suspicion_sentences, suspicion_table
from tfdefense.utils.tables import text_table


def print_report(report: Report) -> None:
    """Print the tables, the summary of the first one, and the checks that failed."""
    print(f"\n{to_text(report)}\n\n{report.summary}")
    if report.surrogates:
        _print_table(surrogate_table(report), surrogate_warnings(report))
    if report.suspicion:
        print("\nSuspicion:")
        _print_table(suspicion_table(report), suspicion_sentences(report))
    print_failures(report)
    ran = len(report.run_checks)
    if ran == 0:
        print("No checks ran.")
        return
    skipped = len(report.checks) - ran
    rest = f" {skipped} could not run." if skipped else ""
    print(f"{ran - len(report.failed_checks)} of {ran} checks passed.{rest}")


def _print_table(table: Sequence[Sequence[str]], sentences: Sequence[str]) -> None:
    print("\n".join(["", *text_table(table), *sentences, ""]))


def print_failures(report: Report, label: str = "") -> None:
    """Print a line for each check that failed, red on a terminal; `label` comes before its name."""
    red, plain = ("\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "")
    for check in report.failed_checks:
        print(f"{red}✗ {label}Check failed: {check.name}. {check.verdict}{plain}")


def print_paths(paths: dict[str, object]) -> None:
    """Print label -> path or command, one a line, in columns."""
    for label, path in paths.items():
        print(f"{label:14} {path}")


def installed_command(name: str, *arguments: object) -> str:
    """Return how to call a command that is installed next to this Python, quoted for a shell."""
    path = Path(sys.executable).with_name(name)
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return shlex.join([str(path), *map(str, arguments)])
