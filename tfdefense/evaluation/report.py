"""What was measured, as data and as something that a person reads."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.intervals import wilson
from tfdefense.runs import versions, write_text

SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured accuracy.

    Attributes:
      dataset, classifier: what was attacked.
      defense: what stood before it, or "none".
      trained_with: the classifier that the defence was trained with, or "none".
      attack, epsilon: what attacked; "none" and 0 for clean images, None for an attack without radius.
      threat_model: "none" (clean), "grey_box" (the attack saw the classifier alone) or "white_box"
        (it saw everything that stands in the row).
      accuracy, n: share of the n images classified correctly, in [0, 1].
      ci_low, ci_high: 95 % Wilson interval.
      seconds: for crafting and judging.
    """

    dataset: str
    classifier: str
    defense: str
    trained_with: str
    attack: str
    epsilon: float | None
    threat_model: str
    accuracy: float
    n: int
    ci_low: float
    ci_high: float
    seconds: float

    @classmethod
    def measured(cls, correct: np.ndarray, **fields: str | float | None) -> "Row":
        """A row from `correct`, bool [n], one for each image that was really judged."""
        low, high = wilson(int(correct.sum()), len(correct))
        return cls(
            accuracy=float(correct.mean()), n=len(correct), ci_low=low, ci_high=high, **fields
        )


@dataclasses.dataclass(frozen=True)
class Report:
    """All rows of one evaluation, with what a careful reader wants beside them.

    Attributes:
      rows: the measurements.
      attacks: one line for each attack: exactly what ran.
      sanity: what the numbers themselves give away; empty where nothing does.
      notes: what is special about the images.
      settings: the evaluation's own settings, so that a later call can tell whether it asks the same.
      predictions: "defense/attack/threat_model" -> predicted classes int32 [n].
    """

    rows: tuple[Row, ...]
    attacks: tuple[str, ...]
    sanity: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    predictions: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)

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
            f" case over attacks per image. {verdict}"
        )

    def suspicions(self) -> list[str]:
        """What the rows give away about themselves, in words; empty where nothing does."""
        found = []
        clean = self.row(self.defense, "none", "none")
        for row in self.rows:
            if row.defense != self.defense or row.attack in ("none", "worst_case"):
                continue
            if row.ci_low > clean.ci_high:
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
        lines = [
            ["attack", "undefended", f"{self.defense}, grey box", f"{self.defense}, white box"]
        ]
        clean = (self.row("none", "none", "none"), self.row(self.defense, "none", "none"))
        lines.append(["none (clean)", _cell(clean[0]), _cell(clean[1]), "-"])
        for attack in dict.fromkeys(row.attack for row in self.rows if row.attack != "none"):
            undefended = self.row("none", attack, "white_box")
            grey = self.row(self.defense, attack, "grey_box")
            white = self.row(self.defense, attack, "white_box")
            epsilon = next(row.epsilon for row in (undefended, grey, white) if row)
            title = attack if epsilon is None else f"{attack} {epsilon:.3g}"
            lines.append([title, _cell(undefended), _cell(grey), _cell(white)])
        return lines

    def to_text(self) -> str:
        """The table for a terminal."""
        table = self.table()
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        padded = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join([padded[0], "-" * max(map(len, padded)), *padded[1:]])

    def to_markdown(self) -> str:
        """The report that a person reads."""
        first = self.rows[0]
        header, *body = self.table()
        table = [_pipe(header), _pipe(["---"] * len(header)), *(_pipe(line) for line in body)]
        made = ", ".join(f"{name} {version}" for name, version in versions().items())
        return "\n".join(
            [
                f"# {self.defense} before {first.classifier} on {first.dataset}",
                "",
                self.summary,
                "",
                *(f"> **Check:** {line}\n" for line in self.sanity),
                *table,
                "",
                "Accuracy on test images with its 95 % Wilson interval and the number of images. *Grey box*: the attack sees the",
                "classifier alone and its images are purified afterwards. *White box*: the attack sees purifier and classifier.",
                "*worst_case*: an image counts only if it withstood every attack of its column.",
                "",
                "![Gallery](gallery.png)",
                "",
                "## How it was made",
                "",
                *(f"- {line}" for line in (*self.attacks, *self.notes)),
                f"- Versions: {made}.",
                "",
            ]
        )

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
            "made_with": versions(),
        }
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """Reads what `to_json` wrote (predictions are not in it)."""
        content = json.loads(text)
        rows = tuple(Row(**row) for row in content["rows"])
        texts = (tuple(content[name]) for name in ("attacks", "sanity", "notes"))
        return cls(rows, *texts, settings=content["settings"])

    def save(self, directory: Path) -> None:
        """Writes `report.md`, `predictions.npz` and, last, `report.json` into `directory`."""
        directory = Path(directory)
        write_text(directory / "report.md", self.to_markdown())
        np.savez_compressed(directory / "predictions.npz", **self.predictions)
        write_text(directory / "report.json", self.to_json())


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    return f"{row.accuracy:.1%} [{100 * row.ci_low:.1f}, {100 * row.ci_high:.1f}] n={row.n:,}"


def _pipe(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
