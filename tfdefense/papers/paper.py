"""What a paper prints, and what its names are here."""

import csv
import dataclasses
import functools
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.attacks.core.spec import attack_from
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.defenses import DEFENSES
from tfdefense.errors import require, unknown_name

_HERE = Path(__file__).parent
BENIGN = "benign"
NONE = "none"


@dataclasses.dataclass(frozen=True)
class Figure:
    """One accuracy that a paper prints.

    Attributes:
      paper, table, dataset: where it stands.
      attacked_classifier, defense, trained_with, attack: what was measured, in the paper's names; "none" for no
        defence, "benign" for no attack, "" where nothing was trained with a classifier.
      accuracy_percent: what the paper prints.
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
class Named:
    """What a paper's name for a defence is here.

    Attributes:
      defense: the registered name.
      reason: for what the paper leaves open.
      options: hyperparameters that are not the defaults.
      pairs: labels of attacks whose examples it learns from; none for what it makes for itself.
      trained_with: the classifier that it is trained before, in the paper's name, where it learns nothing of it; "" where
        it does.
    """

    defense: str
    reason: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pairs: Sequence[str] = ()
    trained_with: str = ""


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper with all of its figures.

    Attributes:
      name, title, year: which.
      tables: name -> what is in it.
      figures: in their order in the paper.
      protocol: the rest of the TOML file.
    """

    name: str
    title: str
    year: int
    tables: Mapping[str, str]
    figures: tuple[Figure, ...]
    protocol: Mapping[str, Any]

    def classifier(self, figure_name: str) -> str:
        """The registered name of the classifier that the paper calls so."""
        return self.protocol["classifiers"][figure_name]

    def attack(self, figure: Figure) -> str | None:
        """The label (`attacks.labels`) of a figure's attack; None for benign images."""
        if figure.attack == BENIGN:
            return None
        return self._attacks(figure)[figure.attack]["attack"]

    def defense(self, figure: Figure) -> Named | None:
        """What a figure's defence is here; None for none."""
        if figure.defense == NONE:
            return None
        own = self.protocol.get("defenses_of_table", {}).get(figure.table, {})
        named = Named(**{**self.protocol["defenses"], **own}[figure.defense])
        attacks = self._attacks(figure)
        return dataclasses.replace(named, pairs=[attacks[name]["attack"] for name in named.pairs])

    def _attacks(self, figure: Figure) -> dict[str, Any]:
        own = self.protocol.get("attacks_of_table", {}).get(figure.table, {})
        return {**self.protocol["attacks"][figure.dataset], **own}

    def fooled_only(self, figure: Figure) -> bool:
        """Whether only examples that fooled the classifier are counted."""
        return figure.table in self.protocol.get("fooled_only", {}).get("tables", ())

    def chosen(
        self,
        tables: Sequence[str] | None = None,
        dataset: str | None = None,
        classifiers: Sequence[str] | None = None,
    ) -> tuple[Figure, ...]:
        """The figures of some tables (None: all), of one dataset (None: both), with some classifiers alone (None: all).

        Args:
          tables, dataset: names.
          classifiers: the paper's names; figures with others, attacked or trained with, are left out.

        Raises:
          UserError: an unknown table, dataset or classifier, or a table that has nothing of them.
        """
        for name in classifiers or ():
            if name not in self.protocol["classifiers"]:
                raise unknown_name("classifier", name, self.protocol["classifiers"])
        for table in tables or ():
            if table not in self.tables:
                raise unknown_name(f"table of --paper={self.name}", table, self.tables)
        datasets = {figure.dataset for figure in self.figures}
        if dataset is not None and dataset not in datasets:
            raise unknown_name("dataset", dataset, datasets)
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
        asked = [f"--dataset={dataset}"] if dataset else []
        if classifiers:
            asked.append(f"--classifiers={','.join(classifiers)} alone")
        for table in tables or ():
            require(
                any(figure.table == table for figure in found),
                f"--tables={table}: has no figures of {' and '.join(asked)}.",
            )
        return tuple(found)

    def choices(self) -> list[tuple[str, str, str]]:
        """(name in the paper, what it is here, why), for all that it leaves open."""
        listed = []
        groups = {**self.protocol["attacks"]}
        for table, group in self.protocol.get("attacks_of_table", {}).items():
            groups[f"table {table}"] = group
        for where, group in groups.items():
            listed += [
                (f"{name}, {where}", each["attack"], each["reason"]) for name, each in group.items()
            ]
        groups = {"": self.protocol["defenses"]}
        for table, group in self.protocol.get("defenses_of_table", {}).items():
            groups[f", table {table}"] = group
        for where, group in groups.items():
            for name, each in group.items():
                options = {**each.get("options", {})}
                if "pairs" in each:
                    options["pairs"] = each["pairs"]
                given = ", ".join(f"{key}={value}" for key, value in options.items())
                what = f"{each['defense']}{f' ({given})' if given else ''}"
                listed.append((f"{name}{where}", what, each["reason"]))
        return listed


def names() -> list[str]:
    """The papers that there are."""
    return sorted(path.stem for path in _HERE.glob("*.csv"))


@functools.cache
def load(name: str) -> Paper:
    """A paper by its short name.

    Raises:
      UserError: there is none, or something in its files is not known here.
    """
    if name not in names():
        raise unknown_name("--paper", name, names())
    protocol = tomllib.loads((_HERE / f"{name}.toml").read_text())
    with (_HERE / f"{name}.csv").open(newline="") as file:
        rows = [
            {**row, "accuracy_percent": float(row["accuracy_percent"])}
            for row in csv.DictReader(file)
        ]
    title, year, tables = (protocol.pop(key) for key in ("title", "year", "tables"))
    paper = Paper(name, title, year, tables, tuple(Figure(**row) for row in rows), protocol)
    for figure in paper.figures:
        CLASSIFIERS.get(paper.classifier(figure.attacked_classifier))
        if figure.trained_with:
            CLASSIFIERS.get(paper.classifier(figure.trained_with))
        if label := paper.attack(figure):
            attack_from(label)
        if named := paper.defense(figure):
            DEFENSES.get(named.defense).Config(**named.options)
        require(figure.table in tables, f"{name}.toml: no table {figure.table}.")
    return paper
