"""MkDocs hook: one page per command, generated from the flags of the command."""

import functools
import html
import importlib

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from tfdefense.cli.main import COMMANDS


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add reference/commands/<command>.md for every command."""
    for command in COMMANDS:
        page = f"reference/commands/{command}.md"
        files.append(File.generated(config, page, content=command_page(command)))
    return files


@functools.cache
def command_page(command: str) -> str:
    """Return the help page of a command as Markdown: a section per group, an entry per flag."""
    help_text = importlib.import_module(f"tfdefense.cli.{command}").command_flags().help()
    _, _, text = help_text.partition(": ")
    page = [f"# bin/{command}", "", f"In an installed package: `tfdefense {command}`.", ""]
    for line in (text[:1].upper() + text[1:]).splitlines():
        if line.startswith("  --"):
            page += ["", f"`{line.strip()}`"]
        elif line.startswith("      "):
            marker = ":   " if page[-1].startswith("`--") else "    "
            page.append(marker + html.escape(line.strip(), quote=False))
        elif line.endswith(":"):
            page += ["", f"## {line.removesuffix(':')}", ""]
        else:
            page.append(html.escape(line, quote=False))
    return "\n".join([*page, ""])
