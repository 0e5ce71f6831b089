"""JSON records of measured cells in a results folder."""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.errors import require
from tfdefense.papers.measurements import PaperCell
from tfdefense.papers.paper import Paper, PaperFigure
from tfdefense.papers.store import Fingerprints, TargetStore
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.json_types import typed_value
from tfdefense.utils.progress import print_line
from tfdefense.utils.tables import escape_markdown
from tfdefense.utils.untrusted_file import read_json_file


def save_cell_records(
    cells: Sequence[tuple[PaperFigure, PaperCell]], store: TargetStore, path: Path
) -> None:
    """Write a JSON list of figures with the records of their cells; null if not measured."""
    records = [
        {"figure": dataclasses.asdict(figure), "cell": cell.record(store)} for figure, cell in cells
    ]
    write_text_file(path, json.dumps(records, indent=1) + "\n")


@dataclasses.dataclass(frozen=True)
class CellRecords:
    """Records of measured cells in a results folder.

    Attributes:
      by_key: the records by the key of their cell.
      by_figure: the same records by `figure_names` of the figure for which they were measured.
    """

    by_key: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    by_figure: dict[tuple[str, ...], dict[str, Any]] = dataclasses.field(default_factory=dict)


def figure_names(figure: PaperFigure) -> tuple[str, ...]:
    """Return the names that identify a figure in its paper: all columns but the accuracy."""
    return tuple(str(getattr(figure, name)) for name in _FIGURE_NAMES)


_FIGURE_NAMES = [
    field.name for field in dataclasses.fields(PaperFigure) if field.name != "accuracy_percent"
]


def load_cell_records(paper: Paper, directory: Path) -> CellRecords:
    """Return what `save_cell_records` wrote for all tables of a paper.

    A damaged file is reported and skipped, so its cells are measured again.
    """
    found = CellRecords()
    for table in paper.tables:
        path = directory / f"{table}.json"
        if not path.is_file():
            continue
        try:
            read = _read_records(path)
        except (ValueError, KeyError, TypeError):
            print_line(f"{path}: damaged; its cells are measured again.")
            continue
        for figure, cell in read:
            found.by_key[typed_value(cell["key"], str)] = cell
            with contextlib.suppress(ValueError, KeyError):  # Of a version with other columns.
                names = tuple(typed_value(figure[name], str) for name in _FIGURE_NAMES)
                found.by_figure[names] = cell
    return found


def _read_records(path: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (figure, record) of the measured figures; raise an error if the file is damaged."""
    found = []
    for content in typed_value(read_json_file(path), list):
        record = typed_value(content, dict)
        if record["cell"] is not None:
            cell = typed_value(record["cell"], dict)
            typed_value(cell["key"], str)
            found.append((typed_value(record["figure"], dict), cell))
    return found


def measured_images(cells: Iterable[PaperCell], store: TargetStore) -> dict[str, Fingerprints]:
    """Return dataset -> fingerprints of the images that measured cells were made from.

    Raises:
      UserError: two cells were made from different images of one dataset.
    """
    found: dict[str, Fingerprints] = {}
    for cell in cells:
        images = (cell.record(store) or {}).get("images")
        name = cell.classifier.dataset
        require(
            images is None or found.setdefault(name, images) == images,
            f"{cell.title}: measured on other images of {name!r} than other cells of its table. Give another --store and"
            " --output.",
        )
    return found


def versions_and_notes(records: Iterable[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Return the package versions ("<name> <version>, ...") and the notes in some records, as Markdown."""
    found: dict[str, dict[str, None]] = {}
    notes = set()
    for record in records:
        notes.add(record.get("note", ""))
        for name, version in record.get("made_with", {}).items():
            found.setdefault(name, {})[version] = None
    text = ", ".join(f"{name} {' and '.join(versions)}" for name, versions in found.items())
    return escape_markdown(text), [escape_markdown(note) for note in sorted(notes - {""})]
