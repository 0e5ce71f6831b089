"""What was measured, as data and as something that a person reads."""

import csv
import dataclasses
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.evaluation.detection import Detection, detector_section, save_roc
from tfdefense.evaluation.restored import Restored, restored_section
from tfdefense.evaluation.row import Row, row_cell
from tfdefense.evaluation.tables import latex_table, markdown_table, text_table
from tfdefense.runs import versions, write_text

SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Report:
    """All rows of one evaluation, with what a careful reader wants beside them.

    Attributes:
      rows: the measurements.
      attacks: one line for each attack: exactly what ran.
      sanity: what the numbers themselves give away; empty where nothing does.
      notes: what is special about the images.
      settings: the evaluation's own settings, so that a later call can tell whether it asks the same.
      detections: what the defence's detector refused, if it has one.
      restored: of the images that fooled the classifier, how many are right after purifying.
      predictions: "defense/attack/threat_model" -> predicted classes int32 [n], -1 where refused.
      excesses: the same keys -> how far past the detector, float32 [n].
    """

    rows: tuple[Row, ...]
    attacks: tuple[str, ...]
    sanity: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    detections: tuple[Detection, ...] = ()
    restored: tuple[Restored, ...] = ()
    predictions: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)
    excesses: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)

    def row(self, defense: str, attack: str, threat_model: str) -> Row | None:
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
    def summary(self) -> str:
        """The outcome in a sentence or two of plain words."""
        clean = self.row(self.defense, "none", "none")
        grey = self.row(self.defense, "worst_case", "grey_box")
        white = self.row(self.defense, "worst_case", "white_box")
        verdict = (
            "It does not stop an attacker who knows it."
            if white.accuracy < 0.5
            else "It keeps most of its accuracy against these attacks when the attacker knows it."
        )
        return (
            f"With {self.defense}, {clean.accuracy:.1%} of clean images are classified correctly."
            f" Attacks that know only the classifier leave {grey.accuracy:.1%} (n = {grey.n:,}), attacks"
            f" that know the defence too leave {white.accuracy:.1%} (n = {white.n:,}), each in the worst"
            f" case over attacks per image. {verdict}{self._of_the_detector()}"
        )

    def _of_the_detector(self) -> str:
        if not self.detections:
            return ""
        clean = self.detections[0]
        bare = f"{self.defense}_without_detector"
        grey = self.row(bare, "worst_case", "grey_box").accuracy
        white = self.row(bare, "worst_case", "white_box").accuracy
        return (
            f" Attacked images that its detector refuses count as right; it also refuses"
            f" {clean.refused:.1%} of the clean ones, which count as wrong. Without it, {grey:.1%} and"
            f" {white:.1%} are left."
        )

    def suspicions(self) -> list[str]:
        """What the rows give away about themselves, in words; empty where nothing does."""
        found = []
        clean = self.row(self.defense, "none", "none")
        for row in self.rows:
            if row.defense != self.defense or row.attack in ("none", "worst_case"):
                continue
            # Refusing an attacked image is right, a clean one wrong: a detector may well score higher.
            if row.ci_low > clean.ci_high and not self.detections:
                found.append(
                    f"{row.attack} ({row.threat_model}) scores {row.accuracy:.1%}, above clean images"
                    f" ({clean.accuracy:.1%}): the attack leaks the label into the image."
                )
            grey = self.row(row.defense, row.attack, "grey_box")
            if row.threat_model == "white_box" and grey and row.ci_low > grey.ci_high:
                found.append(
                    f"{row.attack} is weaker when it knows the defence ({row.accuracy:.1%}) than when it"
                    f" does not ({grey.accuracy:.1%}): gradients are masked, trust neither."
                )
        return found

    def table(self) -> list[list[str]]:
        """Header and one line an attack: undefended, grey box and white box side by side."""
        defenses = dict.fromkeys(row.defense for row in self.rows if row.defense != "none")
        titles = [f"{name}, {box}" for name in defenses for box in ("grey box", "white box")]
        lines = [["attack", "undefended", *titles]]
        clean = [[row_cell(self.row(name, "none", "none")), "-"] for name in defenses]
        lines.append(
            ["none (clean)", row_cell(self.row("none", "none", "none")), *itertools.chain(*clean)]
        )
        for attack in dict.fromkeys(row.attack for row in self.rows if row.attack != "none"):
            rows = [
                self.row("none", attack, "white_box"),
                *(
                    self.row(name, attack, box)
                    for name in defenses
                    for box in ("grey_box", "white_box")
                ),
            ]
            epsilon = next(row.epsilon for row in rows if row)
            title = attack if epsilon is None else f"{attack} {epsilon:.3g}"
            lines.append([title, *map(row_cell, rows)])
        return lines

    def to_text(self) -> str:
        """The table for a terminal."""
        return "\n".join(text_table(self.table()))

    def to_markdown(self) -> str:
        """The report that a person reads."""
        first = self.rows[0]
        made = ", ".join(f"{name} {version}" for name, version in versions().items())
        return "\n".join(
            [
                f"# {self.defense} before {first.classifier} on {first.dataset}",
                "",
                self.summary,
                "",
                *(f"> **Check:** {line}\n" for line in self.sanity),
                *markdown_table(self.table()),
                "",
                "Accuracy on test images with its 95 % Wilson interval and the number of images. *Grey box*: the attack sees the",
                "classifier alone and its images are purified afterwards. *White box*: the attack sees purifier and classifier.",
                "*worst_case*: an image counts only if it withstood every attack of its column.",
                "",
                "![Gallery](gallery.png)",
                "",
                *restored_section(self.restored),
                *detector_section(self.detections),
                "## How it was made",
                "",
                *(f"- {line}" for line in (*self.attacks, *self.notes)),
                f"- Versions: {made}.",
                "",
            ]
        )

    def to_latex(self) -> str:
        """The table, for a paper."""
        first = self.rows[0]
        caption = f"{self.defense} before {first.classifier} on {first.dataset}. {self.summary}"
        return "\n".join(latex_table(self.table(), caption)) + "\n"

    def to_csv(self) -> str:
        """Every row with all its fields, for a spreadsheet."""
        text = io.StringIO()
        names = [field.name for field in dataclasses.fields(Row)]
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
            "sanity": list(self.sanity),
            "attacks": list(self.attacks),
            "notes": list(self.notes),
            "settings": self.settings,
            "restored": [dataclasses.asdict(each) for each in self.restored],
            "detections": [dataclasses.asdict(each) for each in self.detections],
            "made_with": versions(),
        }
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """Reads what `to_json` wrote (predictions and excesses are not in it)."""
        content = json.loads(text)
        rows = tuple(Row(**row) for row in content["rows"])
        texts = (tuple(content[name]) for name in ("attacks", "sanity", "notes"))
        return cls(
            rows,
            *texts,
            settings=content["settings"],
            detections=tuple(Detection(**each) for each in content.get("detections", ())),
            restored=tuple(Restored(**each) for each in content.get("restored", ())),
        )

    def save(self, directory: Path) -> None:
        """Writes `report.md|csv|tex`, `predictions.npz`, of a detector `roc.png`, and, last, `report.json`."""
        directory = Path(directory)
        if self.excesses:
            save_roc(self.excesses, directory / "roc.png")
        write_text(directory / "report.md", self.to_markdown())
        write_text(directory / "report.csv", self.to_csv())
        write_text(directory / "report.tex", self.to_latex())
        excesses = {f"{key}/excess": values for key, values in self.excesses.items()}
        np.savez_compressed(directory / "predictions.npz", **self.predictions, **excesses)
        write_text(directory / "report.json", self.to_json())
