"""What stands behind a table: what each cell was made of, what was trained for it, and what was chosen."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.papers.measurements import Cell
from tfdefense.papers.paper import Figure, Paper
from tfdefense.papers.results import COLUMNS, Line, Means, cells_of
from tfdefense.papers.store import Store
from tfdefense.papers.targets import Classifier, Trained
from tfdefense.training.run_directory import write_text
from tfdefense.utils.progress import say
from tfdefense.utils.tables import markdown_table


def save_cells(cells: Sequence[tuple[Figure, Cell]], store: Store, path: Path) -> None:
    """A JSON list of figures with all that was written down when their cells were measured; null where none was."""
    records = [
        {"figure": dataclasses.asdict(figure), "cell": cell.record(store)} for figure, cell in cells
    ]
    write_text(path, json.dumps(records, indent=1) + "\n")


def measured_cells(paper: Paper, directory: Path) -> dict[str, dict[str, Any]]:
    """Key -> record of the cells that `save_cells` wrote for a paper's tables, wherever they were measured.

    A damaged file is passed over and named: its cells are measured again.
    """
    found = {}
    for table in paper.tables:
        path = directory / f"{table}.json"
        if not path.is_file():
            continue
        try:
            cells = [record["cell"] for record in json.loads(path.read_text())]
            found |= {cell["key"]: cell for cell in cells if cell is not None}
        except (OSError, ValueError, KeyError, TypeError):
            say(f"{path}: damaged; what it told is measured again.")
    return found


def how_made(records: Iterable[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """What some cells were measured with, "<name> <version>, ...", and what is to be said of their images."""
    found: dict[str, dict[str, None]] = {}
    notes = set()
    for record in records:
        notes.add(record.get("note", ""))
        for name, version in record.get("made_with", {}).items():
            found.setdefault(name, {})[version] = None
    made_with = ", ".join(f"{name} {' and '.join(each)}" for name, each in found.items())
    return made_with, sorted(notes - {""})


def save_choices(
    paper: Paper, classifiers: Iterable[Classifier], trained: Iterable[Trained], path: Path
) -> None:
    """Markdown: what each name of the paper is here and why, and how each classifier and each defence was trained."""
    header = [["in the paper", "here", "why"]]
    text = [
        f"# {paper.title} ({paper.year}): what it leaves open",
        "",
        *markdown_table(header + [list(row) for row in paper.choices()]),
        "",
        "## What was trained, and how far",
        "",
        *markdown_table(_CLASSIFIERS + [_classifier_row(each) for each in classifiers]),
        "",
        *markdown_table(_TRAINED + [_row(each) for each in trained]),
        "",
    ]
    write_text(path, "\n".join(text))


_CLASSIFIERS = [["dataset", "classifier", "not the recipe's", "passes"]]


def _classifier_row(classifier: Classifier) -> list[str]:
    return [
        classifier.dataset,
        classifier.name,
        _written(classifier.options),
        "the recipe's" if classifier.passes is None else str(classifier.passes),
    ]


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


def _written(options: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options) or "-"


def _row(trained: Trained) -> list[str]:
    images = "all" if trained.train_images is None else f"{trained.train_images:,}"
    learns = trained.passes is not None
    return [
        trained.classifier.dataset,
        trained.classifier.name,
        trained.defense,
        _written(trained.options),
        str(trained.passes) if learns else "-",
        images if learns else "-",
        ", ".join(each.attack for each in trained.pairs) or "-",
    ]


def save_index(
    paper: Paper, grids: Mapping[str, Sequence[Line]], notes: Sequence[str], path: Path
) -> None:
    """Markdown: what every table amounts to, and each figure that falls more than three points short of the paper's.

    Args:
      paper: whose.
      grids: table -> its lines.
      notes: what is to be said of the images that figures were measured on.
      path: where to.
    """
    header = [["table", "measured", "paper's mean", "our mean", "white box"]]
    rows, short = [], []
    for table, lines in grids.items():
        means = Means.of(lines)
        if means is None:
            continue
        rows.append(
            [
                f"[{table}]({table}.md): {paper.tables[table]}",
                f"{means.measured} of {means.figures}",
                f"{means.paper:.2f}",
                f"{means.ours:.2f}",
                f"{means.white_box:.2f}" if means.white_box is not None else "-",
            ]
        )
        short += [_short(line) for line in lines if _falls_short(line)]
    text = [
        f"# {paper.title} ({paper.year})",
        "",
        "Means over the figures that were measured, in percent; each table has the figures with n and interval.",
        *notes,
        "",
        *markdown_table(header + rows),
        "",
        f"## More than {_SHORT_POINTS:g} points below the paper",
        "",
        "Without those of an undefended classifier under attack: there, less means a stronger attack.",
        "",
        *(markdown_table(_SHORT + short) if short else ["None."]),
        "",
    ]
    write_text(path, "\n".join(text))


_SHORT_POINTS = 3.0
_SHORT = [["table", "classifier", *COLUMNS[2:]]]


def _falls_short(line: Line) -> bool:
    attacked_alone = line.figure.defense == "none" and line.figure.attack != "benign"
    return line.difference < -_SHORT_POINTS and not attacked_alone


def _short(line: Line) -> list[str]:
    dataset, classifier, *others = cells_of(line)
    return [line.figure.table, f"{classifier} ({dataset})", *others]
