"""Collects what was measured of every image, and counts it: the rows of a report."""

import time
from collections.abc import Collection

import numpy as np

from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.evaluation.detection import REJECTED
from tfdefense.evaluation.per_image_results import NORMS, PerImageResults
from tfdefense.evaluation.result import ResultRow


class Measurements:
    """Cells by "defense/attack/threat_model", and a row for each.

    Args:
      defense, test: as in `evaluate`.

    Attributes:
      rows, cells: in the order in which they were added.
    """

    def __init__(self, defense: Defense, test: Split) -> None:
        self.defense = defense
        self.test = test
        self.rows: list[ResultRow] = []
        self.cells: dict[str, PerImageResults] = {}
        self._clock = time.monotonic()

    def add(
        self, defense: str, attack: str, epsilon: float | None, threat_model: str, cell: PerImageResults
    ) -> None:
        """Keeps a cell and counts it."""
        key = f"{defense}/{attack}/{threat_model}"
        self.cells[key] = cell
        counted = np.ones(len(cell), bool) if cell.counted is None else cell.counted
        require(
            bool(counted.any()),
            f"--fooled_only: {attack} fooled {self.defense.classifier.name} with none of {len(cell):,}"
            " images, so none is left to be purified. Raise --epsilon or --images.",
        )
        names = [*NORMS, *(f"left_{name}" for name in NORMS)]
        changes = [cell.perturbation] if cell.left is None else [cell.perturbation, cell.left]
        means = np.concatenate([change[counted].mean(axis=0) for change in changes])
        sizes = {name: float(mean) for name, mean in zip(names, means, strict=False)}
        self._add_row(defense, attack, epsilon, threat_model, self.right(key), counted, sizes)

    def credit(self, seconds: float) -> None:
        """Counts so many seconds to the next row, beside those that pass."""
        self._clock -= seconds

    def right(self, key: str) -> np.ndarray:
        """bool [n]: classified as the label, or, where it was attacked, refused."""
        predicted = self.cells[key].predicted
        right = predicted == self.test.labels[: len(predicted)]
        return right if key.endswith("/none/none") else right | (predicted == REJECTED)

    def standing(
        self, defense: str, threat_model: str, attacks: Collection[str] | None = None
    ) -> np.ndarray:
        """bool [n]: right before every attack of this column that has a radius, and after it.

        Attacks without one fool every image, from however far; they count only where there are no others.

        Args:
          defense, threat_model: the column.
          attacks: labels of those that count; None for all.
        """
        keys = self._decisive_keys(defense, threat_model, attacks)
        n = min(len(self.cells[key]) for key in keys)
        before = self.right(f"{defense}/none/none")[:n]
        return np.all([before, *(self.right(key)[:n] for key in keys)], axis=0)

    def add_worst_cases(self, mixed_norms: bool) -> None:
        """Per column, the images that withstood every attack: what an attacker with a choice leaves.

        Where rows count only images that fooled the classifier, so does this: those that some attack fooled it with.

        Args:
          mixed_norms: the radii are of several norms, so that there is none to name.
        """
        radii: dict[tuple[str, str], list[float | None]] = {}
        for row in self._decisive():
            radii.setdefault((row.defense, row.threat_model), []).append(row.epsilon)
        for (defense, threat_model), epsilons in radii.items():
            epsilon = None if mixed_norms or None in epsilons else max(epsilons)
            standing = self.standing(defense, threat_model)
            counted = self._counted(defense, threat_model, len(standing))
            self._add_row(defense, "worst_case", epsilon, threat_model, standing, counted)

    def _decisive_keys(
        self, defense: str, threat_model: str, attacks: Collection[str] | None = None
    ) -> list[str]:
        return [
            f"{defense}/{row.attack}/{threat_model}"
            for row in self._decisive()
            if (row.defense, row.threat_model) == (defense, threat_model)
            and (attacks is None or row.attack in attacks)
        ]

    def _counted(self, defense: str, threat_model: str, n: int) -> np.ndarray:
        """bool [n]: counted in some row of the column."""
        counted = [self.cells[key].counted for key in self._decisive_keys(defense, threat_model)]
        if any(images is None for images in counted):
            return np.ones(n, bool)
        return np.any([images[:n] for images in counted], axis=0)

    def _decisive(self) -> list[ResultRow]:
        attacked = [row for row in self.rows if row.attack not in ("none", "worst_case")]
        bounded = [row for row in attacked if row.epsilon is not None]
        columns = {(row.defense, row.threat_model) for row in bounded}
        others = [row for row in attacked if (row.defense, row.threat_model) not in columns]
        return bounded + others

    def _add_row(
        self,
        defense: str,
        attack: str,
        epsilon: float | None,
        threat_model: str,
        right: np.ndarray,
        counted: np.ndarray,
        sizes: dict[str, float] | None = None,
    ) -> None:
        now = time.monotonic()
        before = self.right(f"{defense}/none/none")[: len(right)] & counted
        self.rows.append(
            ResultRow.measured(
                right[counted],
                dataset=self.test.dataset,
                classifier=self.defense.classifier.name,
                defense=defense,
                trained_with="none" if defense == "none" else self.defense.trained_with,
                attack=attack,
                epsilon=None if epsilon is None else float(epsilon),
                threat_model=threat_model,
                seconds=round(now - self._clock, 3),
                clean_accuracy=float(before.sum() / counted.sum()),
                success=float(np.mean(~right[before])) if before.any() else None,
                **(sizes or {}),
            )
        )
        self._clock = now
