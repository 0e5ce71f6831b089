"""A paper's tables, run again: what is missing is built, measured and written beside what the paper prints."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.errors import UserError, require
from tfdefense.papers import budget as budgets
from tfdefense.papers import paper as papers
from tfdefense.papers.cost import Cost, spoken
from tfdefense.papers.curves import curves_of, save_curves
from tfdefense.papers.grid import Grid, in_order
from tfdefense.papers.measurements import Cell
from tfdefense.papers.paper import Figure
from tfdefense.papers.records import how_made, measured_cells, save_cells, save_choices, save_index
from tfdefense.papers.results import lines_of, save_table, summary
from tfdefense.papers.scheduler import make_all
from tfdefense.papers.store import Fingerprints, Store
from tfdefense.papers.targets import Artefact, Trained
from tfdefense.training.run_directory import versions, write_text
from tfdefense.utils.progress import say

SCHEMA = 1
_MADE = "made.json"
_CURVES = "training"


class Reproduction:
    """Some tables of a paper under a budget.

    Args:
      paper: its short name.
      budget: of `budgets.toml`.
      tables: names; None for all.
      dataset: of the paper's; None for all.
      classifiers: of the paper's, in its names; None for all.
      store: where artefacts lie.
      output: results go to `<output>/<paper>/`; cells that stand there already, measured with any store, are not measured
        again.
      shard: (index from 1 on, count): which part of the cells is this machine's.

    Raises:
      UserError: an unknown paper, table, dataset or budget, a shard that there is not, or a results folder of another
        budget or version.
    """

    def __init__(
        self,
        paper: str,
        budget: str,
        store: Store,
        output: Path,
        tables: Sequence[str] | None = None,
        dataset: str | None = None,
        shard: tuple[int, int] = (1, 1),
        classifiers: Sequence[str] | None = None,
    ) -> None:
        self.paper = papers.load(paper)
        self.budget = budgets.load(budget)
        index, count = shard
        require(1 <= index <= count, f"--shard={index}/{count}: I/N with I from 1 to N needed.")
        figures = self.paper.chosen(tables, dataset, classifiers)
        self.tables = list(dict.fromkeys(figure.table for figure in figures))
        self.grid = Grid(self.paper, figures, self.budget)
        # All of the paper, also what other calls measure of it.
        self.every = Grid(self.paper, self.paper.figures, self.budget).cells
        self.directory = output / paper
        self._require_same_results()
        measured = measured_cells(self.paper, self.directory)
        self.store = dataclasses.replace(store, measured=measured)
        self.mine = in_order((cell for _, cell in self.grid.of_shard(index, count)), self.store)
        self.cost = Cost(self.store)

    def plan(self) -> str:
        """What would be made, and about how long it would take.

        Raises:
          UserError: the store, or a table, was made of other images.
        """
        self._require_same_images()
        missing = self._missing()
        lines = [
            f"{self.paper.title}: tables {', '.join(self.tables)}; budget {self.budget.name}: {self.budget.about}"
        ]
        for kind in dict.fromkeys(each.kind for each in self.mine):
            every = [each for each in self.mine if each.kind == kind]
            todo = [each for each in missing if each.kind == kind]
            lines.append(
                f"{kind:12} {len(every):4} needed, {len(todo):4} to make, about {spoken(self._seconds(todo))}"
            )
        lines += [
            f"  {each.kind:12} {each.title:50} about {spoken(self.cost.seconds(each))}"
            for each in missing
            if each.kind != "cells"
        ]
        lines.append(
            f"In all about {spoken(self._seconds(missing))}, give or take a factor of three."
        )
        return "\n".join(lines)

    def run(self) -> None:
        """Makes what is missing, and writes the tables, also where something could not be made.

        Raises:
          UserError: the store, or a table, was made of other images.
          WorkFailed: something could not be made.
        """
        datasets = self._require_same_images()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--output={self.directory.parent}: cannot be written ({error.strerror})."
            ) from error
        self.store.hold_to_images(datasets)
        write_text(self.directory / _MADE, json.dumps(self._made_with(), indent=2) + "\n")
        try:
            make_all(self.mine, self.store, self.cost)
        finally:
            self.write()

    def _require_same_images(self) -> list[str]:
        """All cells of a table are of the same images, measured or not; names of the datasets of those that are not."""
        measured: dict[str, Fingerprints] = {}
        for cell in [cell for figure, cell in self.every if figure.table in self.tables]:
            images = (cell.record(self.store) or {}).get("images")
            name = cell.classifier.dataset
            require(
                images is None or measured.setdefault(name, images) == images,
                f"{cell.title}: was measured on other images of {name!r} than other cells of its table. Another --store"
                " and --output needed.",
            )
        cells = [each for each in self._missing() if isinstance(each, Cell)]
        names = list(dict.fromkeys(cell.classifier.dataset for cell in cells))
        self.store.require_images(names, measured)
        return names

    def _missing(self) -> list[Artefact]:
        return [each for each in self.mine if not each.is_done(self.store)]

    def write(self) -> None:
        """Writes the tables with what is measured so far."""
        cells = {
            table: [(figure, cell) for figure, cell in self.every if figure.table == table]
            for table in self.paper.tables
        }
        lines = {table: lines_of(of_table, self.store) for table, of_table in cells.items()}
        for table in self.tables:
            save_table(self.paper, table, lines[table], self.directory, self._about(cells[table]))
            save_cells(cells[table], self.store, self.directory / f"{table}.json")
            known = curves_of(_trained(cells[table]), self.store, self.directory / _CURVES)
            save_curves(known, self.directory / f"{table}-training.png")
            say(f"Table {table}: {summary(lines[table])} {self.directory / f'{table}.md'}")
        _, notes = how_made(self._records(self.every))
        save_index(self.paper, lines, notes, self.directory / "README.md")
        classifiers = dict.fromkeys(cell.classifier for _, cell in self.every)
        save_choices(self.paper, classifiers, _trained(self.every), self.directory / "choices.md")

    def _records(self, cells: Sequence[tuple[Figure, Cell]]) -> list[Mapping[str, Any]]:
        return [record for _, cell in cells if (record := cell.record(self.store))]

    def _about(self, cells: Sequence[tuple[Figure, Cell]]) -> str:
        """How what is measured of a table was made, in a line."""
        records = self._records(cells)
        made_with, notes = how_made(records)
        command = f"bin/reproduce --paper={self.paper.name} --budget={self.budget.name}"
        text = [
            f"Made by `{command}`, with {made_with}." if records else f"To be made by `{command}`."
        ]
        if self.budget.dataset is not None:
            text.append(
                f"Every figure of ours is of {self.budget.dataset}, whatever stands in the paper's columns: {self.budget.about}."
            )
        return " ".join([*text, *notes])

    def _seconds(self, artefacts: Sequence[Artefact]) -> float:
        return sum(self.cost.seconds(each) for each in artefacts)

    def _made_with(self) -> dict:
        return {
            "schema": SCHEMA,
            "paper": self.paper.name,
            "budget": self.budget.name,
            "made_with": versions(),
        }

    def _require_same_results(self) -> None:
        file = self.directory / _MADE
        if not file.is_file():
            require(
                not self.directory.exists() or not any(self.directory.iterdir()),
                f"--output={self.directory.parent}: {self.directory} holds something else (no {_MADE} in it).",
            )
            return
        try:
            found = json.loads(file.read_text())
            same = (found["schema"], found["budget"]) == (SCHEMA, self.budget.name)
            there = f"--budget={found['budget']}, schema {found['schema']}"
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: damaged; remove it, or name another --output.") from error
        require(
            same,
            f"--output={self.directory.parent}: holds results of {there}; {self.budget.name}, schema {SCHEMA}, given. Name another --output.",
        )


def _trained(cells: Sequence[tuple[Figure, Cell]]) -> list[Trained]:
    """The defences of some cells, each once."""
    found = {cell.defense.key: cell.defense for _, cell in cells if cell.defense}
    return list(found.values())
