"""What stands behind a table: what each cell was made of, what was trained for it, and what was chosen."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfdefense.evaluation.tables import markdown_table
from tfdefense.papers.artefacts import Trained
from tfdefense.papers.cells import Cell
from tfdefense.papers.paper import Figure, Paper
from tfdefense.papers.store import Store
from tfdefense.runs import write_text


def save_cells(cells: Sequence[tuple[Figure, Cell]], store: Store, path: Path) -> None:
    """A JSON list of figures with all that was written down when their cells were measured; null where none was."""
    records = [
        {
            "figure": dataclasses.asdict(figure),
            "cell": json.loads(cell.path(store).read_text()) if cell.is_done(store) else None,
        }
        for figure, cell in cells
    ]
    write_text(path, json.dumps(records, indent=1) + "\n")


def save_choices(paper: Paper, trained: Iterable[Trained], path: Path) -> None:
    """Markdown: what each name of the paper is here and why, and how each defence was trained."""
    header = [["in the paper", "here", "why"]]
    text = [
        f"# {paper.title} ({paper.year}): what it leaves open",
        "",
        *markdown_table(header + [list(row) for row in paper.choices()]),
        "",
        "## What was trained, and how far",
        "",
        *markdown_table(_TRAINED + [_row(each) for each in trained]),
        "",
    ]
    write_text(path, "\n".join(text))


_TRAINED = [
    [
        "dataset",
        "trained with",
        "defence",
        "not the defaults",
        "passes",
        "over images",
        "learns from",
    ]
]


def _row(trained: Trained) -> list[str]:
    options = ", ".join(f"{name}={value}" for name, value in trained.options)
    images = "all" if trained.train_images is None else f"{trained.train_images:,}"
    learns = trained.passes is not None
    return [
        trained.classifier.dataset,
        trained.classifier.name,
        trained.defense,
        options or "-",
        str(trained.passes) if learns else "-",
        images if learns else "-",
        ", ".join(each.attack for each in trained.pairs) or "-",
    ]
