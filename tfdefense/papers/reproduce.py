"""Reproduction of a paper's tables, from missing targets to tables of both figures."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.errors import require
from tfdefense.papers.budget import budget_names, load_budget
from tfdefense.papers.charts import save_line_chart
from tfdefense.papers.comparison_tables import compare_figures, save_table, summary
from tfdefense.papers.cost import ESTIMATE_ACCURACY, CostEstimator
from tfdefense.papers.curves import collect_curves, plot_curves
from tfdefense.papers.grid import PaperGrid, order_targets
from tfdefense.papers.measurements import PaperCell
from tfdefense.papers.pages import save_choices, save_index
from tfdefense.papers.paper import Paper, PaperFigure, load_paper
from tfdefense.papers.recipes import collect_recipes, load_recipes, save_recipes, store_recipes
from tfdefense.papers.records import (
    load_cell_records,
    measured_images,
    save_cell_records,
    versions_and_notes,
)
from tfdefense.papers.results_folder import require_same_results, save_marker
from tfdefense.papers.reuse import EarlierWork
from tfdefense.papers.scatter import save_scatter
from tfdefense.papers.scheduler import make_targets
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import StoredTarget
from tfdefense.papers.targets import DefenseTarget
from tfdefense.training.preemption import PreemptionHandler, raise_on_sigterm
from tfdefense.utils.duration import duration_text
from tfdefense.utils.progress import print_line

_CURVES = "training"
_RECIPES = "recipes.json"


@dataclasses.dataclass(frozen=True)
class FigureSelection:
    """Figures of one paper to reproduce.

    Attributes:
      paper: short name of the paper.
      tables: names of tables; None for all.
      dataset: the paper's name of a dataset; None for all.
      classifiers: the paper's names of classifiers; None for all.
    """

    paper: str
    tables: Sequence[str] | None = None
    dataset: str | None = None
    classifiers: Sequence[str] | None = None


class Reproduction:
    """Reproduction of some figures of a paper under a budget.

    Args:
      selection: the figures.
      budget: name of a budget in `budgets.toml`.
      store: the store of the targets.
      output: results are written to `<output>/<paper>/`. Cells that are there, measured with any
        store, are not measured again.
      shard: (index, count): the part of the cells that this machine makes; the first index is 1.

    Raises:
      UserError: an unknown paper, table, dataset or budget, a shard out of range, or a results
        folder of another budget or schema.
    """

    def __init__(
        self,
        selection: FigureSelection,
        budget: str,
        store: TargetStore,
        output: Path,
        shard: tuple[int, int] = (1, 1),
    ) -> None:
        self.paper = load_paper(selection.paper)
        self.budget = load_budget(budget)
        index, count = shard
        require(1 <= index <= count, f"--shard={index}/{count}: I/N with I from 1 to N is needed.")
        figures = self.paper.select(selection.tables, selection.dataset, selection.classifiers)
        self.tables = list(dict.fromkeys(figure.table for figure in figures))
        self.grid = PaperGrid(self.paper, figures, self.budget)
        # Tables and pages show all cells of the paper, also those that other calls measure.
        self.all_cells = PaperGrid(self.paper, self.paper.figures, self.budget).cells
        self.directory = output / selection.paper
        require_same_results(self.directory, self.budget.name)
        records = load_cell_records(self.paper, self.directory)
        self.store = dataclasses.replace(store, known_records=records.by_key)
        recipes = load_recipes(self.directory / _RECIPES)
        keys = _keys_of_all_budgets(self.paper)
        self.earlier = EarlierWork(self.all_cells, self.store, records, recipes, keys)
        cells = (cell for _, cell in self.grid.shard(index, count))
        self.targets = order_targets(cells, self.store)
        self.cost = CostEstimator(self.store)

    def plan(self) -> str:
        """Return what `run` would take over and make, and about how long that would take.

        Images of prepared TFDS datasets are not read, so they are not compared with those of the
        store and of measured cells.

        Raises:
          UserError: the cells of a table, or the store, were made from other images.
        """
        names, missing = self._unmeasured(), self._missing()
        unread = [name for name in names if not self.store.must_read_images(name)]
        self._require_same_images([name for name in names if name not in unread])
        lines = [
            f"{self.paper.title}: tables {', '.join(self.tables)}; budget {self.budget.name}: {self.budget.about}"
        ]
        lines += self.earlier.describe(self.targets)
        for kind in dict.fromkeys(target.kind for target in self.targets):
            needed = [target for target in self.targets if target.kind == kind]
            to_make = [target for target in missing if target.kind == kind]
            lines.append(
                f"{kind:12} {len(needed):4} needed, {len(to_make):4} to make, about {self._duration(to_make)}"
            )
        lines += [
            f"  {target.kind:12} {target.title:50} about {self._duration([target])}"
            for target in missing
            if target.kind != PaperCell.kind
        ]
        lines.append(f"Total: about {self._duration(missing)}, {ESTIMATE_ACCURACY}.")
        if unread:
            lines.append(
                f"Images of {', '.join(unread)} are not read. Without --dry_run, they are compared with those of"
                " measured cells first."
            )
        return "\n".join(lines)

    def run(self) -> None:
        """Make what is missing and write the tables, even if a target fails or SIGTERM arrives.

        Raises:
          UserError: the store or a table was made from other images, or the results folder cannot
            be written.
          WorkFailedError: a target could not be made.
          PreemptedError: SIGTERM arrived.
        """
        datasets = self._unmeasured()
        self._require_same_images(datasets)
        for line in self.earlier.describe(self.targets):
            print_line(line)
        save_marker(self.directory, self.paper.name, self.budget.name)
        self.store.record_images(datasets)
        others = [target for target in self.targets if target.kind != PaperCell.kind]
        store_recipes(collect_recipes(others), self.store)
        try:
            with raise_on_sigterm(f"paper {self.paper.name}"):
                make_targets(self.targets, self.store, self.cost, self.write)
        finally:
            with PreemptionHandler():  # A second SIGTERM waits until all tables are written.
                for line in self.write():
                    print_line(line)

    def _require_same_images(self, names: Sequence[str]) -> None:
        """Check that the cells of a table use the same images, and the datasets `names` still do."""
        cells = [cell for figure, cell in self.all_cells if figure.table in self.tables]
        self.store.require_same_images(names, measured_images(cells, self.store))

    def _unmeasured(self) -> list[str]:
        """Return the names of the datasets of cells that are not measured."""
        cells = [target for target in self._missing() if isinstance(target, PaperCell)]
        return list(dict.fromkeys(cell.classifier.dataset for cell in cells))

    def _missing(self) -> list[StoredTarget]:
        return [target for target in self.targets if not target.is_done(self.store)]

    def write(self) -> list[str]:
        """Write the tables and pages with the measured cells; return a line on each table."""
        # Calls with other stores may have added cells to the same tables.
        found = load_cell_records(self.paper, self.directory).by_key
        known = {**self.store.known_records, **found}
        self.store = dataclasses.replace(self.store, known_records=known)
        cells = {
            table: [(figure, cell) for figure, cell in self.all_cells if figure.table == table]
            for table in self.paper.tables
        }
        comparisons = {table: compare_figures(cells[table], self.store) for table in cells}
        lines = []
        for table in self.tables:
            about = self._about(cells[table])
            save_table(self.paper, table, comparisons[table], self.directory, about)
            save_cell_records(cells[table], self.store, self.directory / f"{table}.json")
            save_line_chart(self.directory / f"{table}.json")
            defenses = _defenses_of(cells[table])
            curves = collect_curves(defenses, self.store, self.directory / _CURVES)
            plot_curves(curves, self.directory / f"{table}-training.png")
            path = self.directory / f"{table}.md"
            lines.append(f"Table {table}: {summary(comparisons[table])} {path}")
        self._save_recipes()
        _, notes = versions_and_notes(self._records(self.all_cells))
        save_index(self.paper, comparisons, notes, self.directory / "README.md")
        classifiers = dict.fromkeys(cell.classifier for _, cell in self.all_cells)
        defenses = _defenses_of(self.all_cells)
        save_choices(self.paper, classifiers, defenses, self.directory / "choices.md")
        save_scatter(self.directory.parent, self.budget.name)
        return lines

    def _save_recipes(self) -> None:
        """Write what the keys in the records of measured cells stand for."""
        measured = [cell for _, cell in self.all_cells if cell.is_done(self.store)]
        needed = [target for cell in measured for target in cell.prerequisites()]
        save_recipes(collect_recipes(needed), self.directory / _RECIPES)

    def _records(self, cells: Sequence[tuple[PaperFigure, PaperCell]]) -> list[Mapping[str, Any]]:
        return [record for _, cell in cells if (record := cell.record(self.store))]

    def _about(self, cells: Sequence[tuple[PaperFigure, PaperCell]]) -> str:
        """Return one line on how the measured figures of a table were made."""
        records = self._records(cells)
        packages, notes = versions_and_notes(records)
        command = f"bin/reproduce --paper={self.paper.name} --budget={self.budget.name}"
        text = [
            f"Made by `{command}`, with {packages}."
            if records
            else f"Not measured yet. Measure it with: `{command}`"
        ]
        if self.budget.dataset is not None:
            text.append(
                f"All our figures are measured on {self.budget.dataset}, not on the paper's datasets. Budget:"
                f" {self.budget.about}."
            )
        return " ".join([*text, *notes])

    def _duration(self, targets: Sequence[StoredTarget]) -> str:
        return duration_text(sum(self.cost.seconds(target) for target in targets))


def _defenses_of(cells: Sequence[tuple[PaperFigure, PaperCell]]) -> list[DefenseTarget]:
    """Return the distinct defences of some cells."""
    found = {cell.defense.key: cell.defense for _, cell in cells if cell.defense}
    return list(found.values())


def _keys_of_all_budgets(paper: Paper) -> frozenset[str]:
    grids = (PaperGrid(paper, paper.figures, load_budget(name)) for name in budget_names())
    return frozenset().union(*(collect_recipes(cell for _, cell in each.cells) for each in grids))
