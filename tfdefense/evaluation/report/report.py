"""What was measured, as data; `pages` makes of it what a person reads."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.evaluation.checks.all_checks import Check
from tfdefense.evaluation.detection import Detection
from tfdefense.evaluation.per_image_results import PerImageResults
from tfdefense.evaluation.recovery import Recovery
from tfdefense.evaluation.result import ResultRow, format_accuracy
from tfdefense.evaluation.threat_models import THREAT_MODELS, THREAT_MODEL_TITLES
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.package_versions import package_versions

SCHEMA = 1
_KNOWING = {
    "grey_box": "know only the classifier",
    "white_box": "know the defence too",
    "transfer": "know only another classifier",
    "black_box": "only ask for logits",
}


@dataclasses.dataclass(frozen=True)
class Report:
    """All rows of one evaluation, with what a careful reader wants beside them.

    Attributes:
      rows: the measurements.
      attacks: one line for each attack: exactly what ran.
      sanity: what the report found when it examined itself.
      notes: what is special about the images, or about how they were counted.
      settings: the evaluation's own settings, so that a later call can tell whether it asks the same.
      detections: what the defence's detector refused, if it has one.
      restored: of the images that fooled the classifier, how many are right after purifying.
      curve: accuracy over "epsilon": "undefended", "grey_box", "white_box", each on "n" images.
      fingerprints: of "classifier" and "images", so that reports of others of the same names are told apart; a
        classifier that is no Keras model has none.
      labels: true classes int32 [N] of the images of the cells.
      cells: "defense/attack/threat_model" -> what was measured of each image.
    """

    rows: tuple[ResultRow, ...]
    attacks: tuple[str, ...]
    sanity: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    detections: tuple[Detection, ...] = ()
    restored: tuple[Recovery, ...] = ()
    curve: dict[str, Any] = dataclasses.field(default_factory=dict)
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
    labels: np.ndarray | None = dataclasses.field(default=None, repr=False)
    cells: dict[str, PerImageResults] = dataclasses.field(default_factory=dict, repr=False)

    def row(self, defense: str, attack: str, threat_model: str) -> ResultRow | None:
        """The row with these three, or None."""
        for row in self.rows:
            if (row.defense, row.attack, row.threat_model) == (defense, attack, threat_model):
                return row
        return None

    @property
    def defense(self) -> str:
        """The defence that was judged."""
        return next((row.defense for row in self.rows if row.defense != "none"), "none")

    @property
    def defenses(self) -> list[str]:
        """The defence; if it detects, also as it is without its detector."""
        return list(dict.fromkeys(row.defense for row in self.rows if row.defense != "none"))

    @property
    def failures(self) -> list[Check]:
        """The checks that the report did not pass."""
        return [check for check in self.sanity if not check.passed]

    @property
    def summary(self) -> str:
        """The outcome in a sentence or two of plain words."""
        clean = self.row(self.defense, "none", "none")
        rows = {box: self.row(self.defense, "worst_case", box) for box in self.threat_models()}
        left = [
            f"attacks that {_KNOWING[box]} leave {row.accuracy:.1%} (n = {row.n:,})"
            for box, row in rows.items()
        ]
        verdict = "It keeps most of its accuracy against these attacks when the attacker knows it."
        if rows["white_box"].accuracy < 0.5:
            verdict = "It does not stop an attacker who knows it."
        elif self.failures:
            verdict = (
                "What it withstands is not known: these figures did not pass all of their checks."
            )
        return (
            f"With {self.defense}, {clean.accuracy:.1%} of clean images are classified correctly. In the"
            f" worst case over attacks per image, {', '.join(left)}. {verdict}{self._of_the_detector()}"
        )

    def _of_the_detector(self) -> str:
        if not self.detections:
            return ""
        bare = self.defenses[-1]
        left = [
            f"{self.row(bare, 'worst_case', threat_model).accuracy:.1%} ({THREAT_MODEL_TITLES[threat_model]})"
            for threat_model in ("grey_box", "white_box")
            if self.row(bare, "worst_case", threat_model)
        ]
        return (
            f" Attacked images that its detector refuses count as right; it also refuses"
            f" {self.detections[0].refused:.1%} of the clean ones, which count as wrong. Without it,"
            f" {' and '.join(left)} are left."
        )

    def threat_models(self) -> list[str]:
        """Those of the defence's rows, in their usual order."""
        found = {row.threat_model for row in self.rows if row.defense != "none"}
        return [name for name in THREAT_MODELS if name in found]

    def attack_names(self) -> list[str]:
        """The attacks of the rows, in order, and the worst case."""
        return list(dict.fromkeys(row.attack for row in self.rows if row.attack != "none"))

    def columns(self) -> list[tuple[str, str, str]]:
        """Of the table: title, defence and threat model; the undefended classifier first."""
        boxes = self.threat_models()
        others = [box for box in boxes if box in ("transfer", "black_box")]
        found = [("undefended", "none", "white_box")]
        found += [(f"undefended, {THREAT_MODEL_TITLES[box]}", "none", box) for box in others]
        return found + [
            (f"{name}, {THREAT_MODEL_TITLES[box]}", name, box) for name in self.defenses for box in boxes
        ]

    def table(self) -> list[list[str]]:
        """Header and one line an attack: undefended, grey box and white box side by side."""
        columns = self.columns()
        lines = [["attack", *(title for title, _, _ in columns)], self._clean_line(columns)]
        for attack in self.attack_names():
            rows = [self.row(defense, attack, box) for _, defense, box in columns]
            epsilon = next(row.epsilon for row in rows if row)
            title = attack if epsilon is None else f"{attack} {epsilon:.3g}"
            lines.append([title, *map(format_accuracy, rows)])
        return lines

    def _clean_line(self, columns: Sequence[tuple[str, str, str]]) -> list[str]:
        line, seen = ["none (clean)"], set()
        for _, defense, _ in columns:
            line.append("-" if defense in seen else format_accuracy(self.row(defense, "none", "none")))
            seen.add(defense)
        return line

    def to_csv(self) -> str:
        """Every row with all its fields, for a spreadsheet."""
        text = io.StringIO()
        names = [field.name for field in dataclasses.fields(ResultRow)]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in self.rows)
        return text.getvalue()

    def to_json(self) -> str:
        """The report as `report.json` holds it."""
        content = {
            "schema": SCHEMA,
            "summary": self.summary,
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "sanity": [dataclasses.asdict(check) for check in self.sanity],
            "attacks": list(self.attacks),
            "notes": list(self.notes),
            "settings": self.settings,
            "restored": [dataclasses.asdict(each) for each in self.restored],
            "detections": [dataclasses.asdict(each) for each in self.detections],
            "curve": self.curve,
            "fingerprints": self.fingerprints,
            "made_with": package_versions(),
        }
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """Reads what `to_json` wrote (what was measured of each image is not in it)."""
        content = json.loads(text)
        return cls(
            tuple(ResultRow(**row) for row in content["rows"]),
            tuple(content["attacks"]),
            tuple(Check(**each) for each in content["sanity"]),
            tuple(content["notes"]),
            content["settings"],
            tuple(Detection(**each) for each in content["detections"]),
            tuple(Recovery(**each) for each in content["restored"]),
            content["curve"],
            content.get("fingerprints", {}),
        )

    def save_examples(self, path: Path) -> None:
        """Writes a compressed .npz: "labels", and "defense/attack/threat_model/field" for each cell's fields."""
        arrays = {
            f"{key}/{name}": array
            for key, cell in self.cells.items()
            for name, array in cell.arrays().items()
        }
        with atomic_write(path) as partial:
            np.savez_compressed(partial, labels=self.labels, **arrays)
