"""Rows of a report, computed from the results of single images."""

import time
from collections.abc import Collection, Sequence

import numpy as np

from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.evaluation.per_image_results import NORMS, REFUSED, PerImageResults, ResultKey
from tfdefense.evaluation.result import ResultRow
from tfdefense.evaluation.threat_models import (
    ANY_WHITE_BOX,
    THREAT_MODEL_TITLES,
    WHITE_BOX_EOT,
    WHITE_BOX_RESUBMITTED,
    WHITE_BOXES,
)
from tfdefense.evaluation.worst_case import AttackAttempt, without_cost, worst_case_results


class Measurements:
    """Results of single images, and one row for each set of results.

    Args:
      defense: the evaluated defence.
      test: clean images and true classes.

    Attributes:
      rows: in the order in which they were added.
      per_image: "defense/attack/threat_model" -> results, in the same order.
      norms: label of an attack -> norm of its radius; labels say "norm=l2" of attacks that are
        missing here.
      worst_cases: "defense/worst_case/threat_model" -> results of the attack that fooled each image
        first.
      notes: a sentence for each set of results that count no image, and so have no row.
    """

    def __init__(self, defense: Defense, test: Split) -> None:
        self.defense = defense
        self.test = test
        self.rows: list[ResultRow] = []
        self.per_image: dict[str, PerImageResults] = {}
        self.norms: dict[str, str] = {}
        self.worst_cases: dict[str, PerImageResults] = {}
        self.notes: list[str] = []
        self._epsilons: dict[ResultKey, float | None] = {}
        self._row_start = time.monotonic()

    def add(self, key: ResultKey, epsilon: float | None, results: PerImageResults) -> None:
        """Add the results of one pipeline under one attack, and their row if they count any image.

        Args:
          key: pipeline, attack and threat model.
          epsilon: radius of the attack; None for an attack without a radius.
          results: per image.
        """
        self.per_image[str(key)] = results
        self._epsilons[key] = epsilon
        counted = np.ones(len(results), bool) if results.counted is None else results.counted
        if not counted.any():
            threat_model = THREAT_MODEL_TITLES[key.threat_model]
            self.notes.append(
                f"--fooled_only: {key.attack} ({threat_model}) fools {self.defense.classifier.name} on none"
                f" of {len(results):,} images, so {key.defense} has no row for it."
            )
            self._row_start = time.monotonic()
            return
        names = [*NORMS, *(f"left_{name}" for name in NORMS)]
        changes = [results.perturbation, *([] if results.left is None else [results.left])]
        means = np.concatenate([change[counted].mean(axis=0) for change in changes])
        norms = {name: float(mean) for name, mean in zip(names, means, strict=False)}
        self._add_row(key, epsilon, self.correct(key), counted, **norms)

    def norm_of(self, attack: str) -> str:
        """Return the norm of the radius of an attack, from its label."""
        return self.norms.get(attack, "l2" if "norm=l2" in attack else "linf")

    def add_seconds(self, seconds: float) -> None:
        """Add to the time of the next row, for example the time of an attack that was stored."""
        self._row_start -= seconds

    def correct(self, key: ResultKey) -> np.ndarray:
        """Return bool [n]: images that are classified correctly; attacked ones also if they are refused."""
        predicted = self.per_image[str(key)].predicted
        correct = predicted == self.test.labels[: len(predicted)]
        return correct if key.attack == "none" else correct | (predicted == REFUSED)

    def withstood(
        self, defense: str, threat_model: str, attacks: Collection[str] | None = None
    ) -> np.ndarray:
        """Return bool [n]: images that are correct before the attacks and under every one of them.

        Attacks without a radius fool every image if they move it far enough. They count only if the
        pipeline has no other attack.

        Args:
          defense: name of the pipeline.
          threat_model: one of `REPORTED_THREAT_MODELS`.
          attacks: labels of the attacks that count; None for all.
        """
        keys = self._decisive_keys(defense, threat_model, attacks)
        n = min(len(self.per_image[str(key)]) for key in keys)
        before = self.correct(ResultKey(defense, "none", "none"))[:n]
        return np.all([before, *(self.correct(key)[:n] for key in keys)], axis=0)

    def add_worst_cases(self) -> None:
        """Add a "worst_case" row per pipeline and threat model, the accuracy under all attacks at once.

        An image counts as correct only if it withstands every attack. If rows count only images that
        fooled the classifier, the worst case counts the images that at least one attack fooled it with.

        If a pipeline has several white-box threat models, it also gets a row over all of them:
        `ANY_WHITE_BOX`.

        The radius of the row is the largest one of the attacks. It has none if they have several
        norms, or if some have no radius.
        """
        radii: dict[tuple[str, str], list[tuple[float | None, str]]] = {}
        for key in self._decisive():
            ball = self._epsilons[key], self.norm_of(key.attack)
            radii.setdefault((key.defense, key.threat_model), []).append(ball)
        for (defense, threat_model), balls in radii.items():
            known = [epsilon for epsilon, _ in balls if epsilon is not None]
            several = len({norm for _, norm in balls}) > 1
            epsilon = None if several or len(known) < len(balls) else max(known)
            withstood = self.withstood(defense, threat_model)
            counted = self._counted(defense, threat_model, len(withstood))
            if not counted.any():
                continue
            key = ResultKey(defense, "worst_case", threat_model)
            self._add_row(key, epsilon, withstood, counted)
            self._add_worst_case(key, [threat_model], counted)
            white_boxes = [name for name in WHITE_BOXES if (defense, name) in radii]
            if len(white_boxes) > 1 and threat_model == white_boxes[-1]:
                each = [self.withstood(defense, name) for name in white_boxes]
                n = min(map(len, each))
                withstood = np.all([images[:n] for images in each], axis=0)
                key = key._replace(threat_model=ANY_WHITE_BOX)
                self._add_row(key, epsilon, withstood, np.ones(n, bool))
                self._add_worst_case(key, white_boxes)

    def _add_worst_case(
        self, key: ResultKey, threat_models: Sequence[str], counted: np.ndarray | None = None
    ) -> None:
        """Add the results per image of a row over all attacks of some threat models."""
        keys = [ResultKey(key.defense, "none", "none")]
        for threat_model in threat_models:
            keys += self._decisive_keys(key.defense, threat_model)
        several = len(threat_models) > 1
        attempts = []
        for number, each in enumerate(keys):
            name = f"{each.attack}, {each.threat_model}" if several and number else each.attack
            results = self.per_image[str(each)]
            is_resubmitted = each.threat_model == WHITE_BOX_RESUBMITTED
            if is_resubmitted and each._replace(threat_model=WHITE_BOX_EOT) in keys:
                results = without_cost(results)  # They are the images of the EOT attempt.
            attempts.append(AttackAttempt(name, results, self.correct(each)))
        self.worst_cases[str(key)] = worst_case_results(attempts, counted)

    def _decisive_keys(
        self, defense: str, threat_model: str, attacks: Collection[str] | None = None
    ) -> list[ResultKey]:
        return [
            key
            for key in self._decisive()
            if (key.defense, key.threat_model) == (defense, threat_model)
            and (attacks is None or key.attack in attacks)
        ]

    def _counted(self, defense: str, threat_model: str, n: int) -> np.ndarray:
        """Return bool [n]: images that at least one row of the pipeline counts."""
        keys = self._decisive_keys(defense, threat_model)
        counted: list[np.ndarray] = []
        for key in keys:
            images = self.per_image[str(key)].counted
            if images is None:
                return np.ones(n, bool)
            counted.append(images[:n])
        return np.any(counted, axis=0)

    def _decisive(self) -> list[ResultKey]:
        """Return the keys of attacked results that a worst case is computed from."""
        attacked = [key for key in self._epsilons if key.attack != "none"]
        bounded = [key for key in attacked if self._epsilons[key] is not None]
        with_bounded = {(key.defense, key.threat_model) for key in bounded}
        others = [key for key in attacked if (key.defense, key.threat_model) not in with_bounded]
        return bounded + others

    def _add_row(
        self,
        key: ResultKey,
        epsilon: float | None,
        correct: np.ndarray,
        counted: np.ndarray,
        **norms: float,
    ) -> None:
        now = time.monotonic()
        clean = ResultKey(key.defense, "none", "none")
        before = self.correct(clean)[: len(correct)] & counted
        self.rows.append(
            ResultRow.from_correct(
                correct[counted],
                dataset=self.test.dataset,
                classifier=self.defense.classifier.name,
                defense=key.defense,
                trained_with="none" if key.defense == "none" else self.defense.trained_with,
                attack=key.attack,
                epsilon=None if epsilon is None else float(epsilon),
                threat_model=key.threat_model,
                seconds=round(now - self._row_start, 3),
                clean_accuracy=float(before.sum() / counted.sum()),
                success=float(np.mean(~correct[before])) if before.any() else None,
                **norms,
            )
        )
        self._row_start = now
