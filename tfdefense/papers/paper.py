"""Paper: the figures that it prints, and the registered names that stand for its names."""

import csv
import dataclasses
import functools
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.attacks.core.spec import parse_attack
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import require, unknown_name

_HERE = Path(__file__).parent
BENIGN = "benign"
NONE = "none"


@dataclasses.dataclass(frozen=True)
class PaperFigure:
    """One accuracy that a paper prints; its fields are the columns of the paper's CSV file.

    All names are the paper's.

    Attributes:
      paper: short name of the paper.
      table: table in which the accuracy is printed.
      dataset: "mnist" or "cifar10".
      attacked_classifier: classifier behind the defence.
      defense: "none" for the classifier alone.
      trained_with: classifier that the defence was trained with; "" if that does not apply.
      attack: "benign" for clean images.
      accuracy_percent: the printed accuracy.
    """

    paper: str
    table: str
    dataset: str
    attacked_classifier: str
    defense: str
    trained_with: str
    attack: str
    accuracy_percent: float


@dataclasses.dataclass(frozen=True)
class PaperDefense:
    """Registered defence and settings that stand for a defence in a paper.

    Attributes:
      defense: registered name.
      reason: reason for each choice that the paper leaves open.
      options: hyperparameters that differ from the defaults.
      pairs: labels of the attacks whose examples it is trained on; empty if it makes its own.
      trained_with: the paper's name of the one classifier to train with, for a defence that does
        not depend on the classifier; "" if it depends on it.
    """

    defense: str
    reason: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pairs: Sequence[str] = ()
    trained_with: str = ""


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper with all its figures.

    Attributes:
      name: short name, which is also the name of its CSV and TOML files.
      title, year: of the publication.
      tables: description of each table, by name.
      figures: all figures, in the order of the paper.
      protocol: the rest of the TOML file.
    """

    name: str
    title: str
    year: int
    tables: Mapping[str, str]
    figures: tuple[PaperFigure, ...]
    protocol: Mapping[str, Any]

    def classifier_name(self, paper_name: str) -> str:
        """Return the registered name of a classifier in the paper."""
        return self.protocol["classifiers"][paper_name]

    def attack_label(self, figure: PaperFigure) -> str | None:
        """Return the label of a figure's attack (`attacks.core.spec`); None for benign images."""
        if figure.attack == BENIGN:
            return None
        return self._attacks(figure)[figure.attack]["attack"]

    def defense_choice(self, figure: PaperFigure) -> PaperDefense | None:
        """Return the defence that stands for a figure's defence; None for the classifier alone."""
        if figure.defense == NONE:
            return None
        of_table = self.protocol.get("defenses_of_table", {}).get(figure.table, {})
        choice = PaperDefense(**{**self.protocol["defenses"], **of_table}[figure.defense])
        attacks = self._attacks(figure)
        return dataclasses.replace(choice, pairs=[attacks[name]["attack"] for name in choice.pairs])

    def _attacks(self, figure: PaperFigure) -> dict[str, Any]:
        of_table = self.protocol.get("attacks_of_table", {}).get(figure.table, {})
        return {**self.protocol["attacks"][figure.dataset], **of_table}

    def counts_fooled_only(self, figure: PaperFigure) -> bool:
        """Return True if the figure counts only images that fooled the classifier."""
        return figure.table in self.protocol.get("fooled_only", {}).get("tables", ())

    def select(
        self,
        tables: Sequence[str] | None = None,
        dataset: str | None = None,
        classifiers: Sequence[str] | None = None,
    ) -> tuple[PaperFigure, ...]:
        """Return the figures that match all conditions.

        Args:
          tables: names of tables; None for all.
          dataset: name of a dataset; None for all.
          classifiers: the paper's names of classifiers; None for all. A figure matches if its
            attacked classifier and the classifier of its training are both among them.

        Raises:
          UserError: an unknown table, dataset or classifier, or no matching figure, perhaps of one table.
        """
        self._require_known(tables, dataset, classifiers)
        found = [
            figure
            for figure in self.figures
            if (tables is None or figure.table in tables)
            and dataset in (None, figure.dataset)
            and (
                classifiers is None
                or {figure.attacked_classifier, figure.trained_with} <= {*classifiers, ""}
            )
        ]
        conditions = [f"--dataset={dataset}"] if dataset else []
        if classifiers:
            conditions.append(f"--classifiers={','.join(classifiers)}")
        for table in tables or ():
            require(
                any(figure.table == table for figure in found),
                f"--tables={table}: has no figures for {' and '.join(conditions)}.",
            )
        require(found, f"--paper={self.name}: has no figures for {' and '.join(conditions)}.")
        return tuple(found)

    def _require_known(
        self,
        tables: Sequence[str] | None,
        dataset: str | None,
        classifiers: Sequence[str] | None,
    ) -> None:
        for name in classifiers or ():
            if name not in self.protocol["classifiers"]:
                raise unknown_name("classifier", name, self.protocol["classifiers"])
        for table in tables or ():
            if table not in self.tables:
                raise unknown_name(f"table of --paper={self.name}", table, self.tables)
        datasets = {figure.dataset for figure in self.figures}
        if dataset is not None and dataset not in datasets:
            raise unknown_name("dataset", dataset, datasets)

    def list_choices(self) -> list[tuple[str, str, str]]:
        """Return (the paper's name, what stands for it, the reason) for each attack and defence."""
        attacks = dict(self.protocol["attacks"])
        for table, group in self.protocol.get("attacks_of_table", {}).items():
            attacks[f"table {table}"] = group
        defenses = {"": self.protocol["defenses"]}
        for table, group in self.protocol.get("defenses_of_table", {}).items():
            defenses[f", table {table}"] = group
        return [
            *(
                (f"{name}, {place}", choice["attack"], choice["reason"])
                for place, group in attacks.items()
                for name, choice in group.items()
            ),
            *(
                (f"{name}{place}", _defense_text(choice), choice["reason"])
                for place, group in defenses.items()
                for name, choice in group.items()
            ),
        ]


def paper_names() -> list[str]:
    """Return the short names of all papers."""
    return sorted(path.stem for path in _HERE.glob("*.csv"))


@functools.cache
def load_paper(name: str) -> Paper:
    """Return the paper with the short name `name`.

    Raises:
      UserError: there is no such paper, or its files contain an unknown name.
    """
    if name not in paper_names():
        raise unknown_name("--paper", name, paper_names())
    protocol = tomllib.loads((_HERE / f"{name}.toml").read_text(encoding="utf-8"))
    with (_HERE / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        figures = tuple(_figure(row) for row in csv.DictReader(file))
    title, year, tables = (protocol.pop(key) for key in ("title", "year", "tables"))
    paper = Paper(name, title, year, tables, figures, protocol)
    for figure in figures:
        _check_names(paper, figure)
    return paper


def _figure(row: Mapping[str, str]) -> PaperFigure:
    names = [field.name for field in dataclasses.fields(PaperFigure)]
    values: dict[str, Any] = {name: row[name] for name in names}
    return PaperFigure(**{**values, "accuracy_percent": float(row["accuracy_percent"])})


def _check_names(paper: Paper, figure: PaperFigure) -> None:
    """Raise `UserError` if a name or option that stands for the figure is unknown."""
    CLASSIFIERS.get(paper.classifier_name(figure.attacked_classifier))
    if figure.trained_with:
        CLASSIFIERS.get(paper.classifier_name(figure.trained_with))
    if label := paper.attack_label(figure):
        parse_attack(label)
    if choice := paper.defense_choice(figure):
        DEFENSES.get(choice.defense).config_type(**choice.options)
    require(figure.table in paper.tables, f"{paper.name}.toml: no table {figure.table}.")


def _defense_text(choice: Mapping[str, Any]) -> str:
    options = dict(choice.get("options", {}))
    if "pairs" in choice:
        options["pairs"] = choice["pairs"]
    text = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"{choice['defense']}{f' ({text})' if text else ''}"
