"""A defence under attack: by those who know the classifier, and by those who know the defence."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from tfdefense.attacks import (
    BIM,
    FGSM,
    PGD,
    Attack,
    FGSMPredicted,
    default_epsilon,
    strongest,
)
from tfdefense.attacks.labels import label_of
from tfdefense.data.dataset import Split
from tfdefense.defenses.base import Defense
from tfdefense.errors import require
from tfdefense.evaluation.columns import columns
from tfdefense.evaluation.detection import REFUSED, detections
from tfdefense.evaluation.judge import Judge
from tfdefense.evaluation.report import Report
from tfdefense.evaluation.restored import restored
from tfdefense.evaluation.row import Row


def default_attacks(epsilon: float) -> tuple[Attack, ...]:
    """The attacks of a report at radius `epsilon`."""
    return (
        FGSM(epsilon=epsilon),
        FGSMPredicted(epsilon=epsilon),
        BIM(epsilon=epsilon),
        PGD(epsilon=epsilon),
    )


def evaluate(
    defense: Defense,
    test: Split,
    attacks: Sequence[Attack] | None = None,
    white_box_images: int | None = None,
) -> Report:
    """Attacks the classifier alone, purifies the result (grey box), then attacks the whole (white box).

    A defence that detects is judged twice. With its detector, an attacked image counts as right if it is
    refused, a clean one only if it is let through (MagNet's way), and the white-box attacker evades detector
    and classifier together; and as if it had none, "<name>_without_detector".

    Args:
      defense: what to judge, in front of the classifier that it was made with.
      test: images that nothing was trained or chosen on.
      attacks: None means `default_attacks` at the radius usual for such images.
      white_box_images: the white-box attacks, dearer by far, run on this many images at most; None means as
        many as the defence says.

    Raises:
      UserError: images of another shape, or no attack.
    """
    require(
        test.image_shape == defense.classifier.image_shape,
        f"test: images of {test.image_shape} given, {defense.classifier.image_shape} needed.",
    )
    if white_box_images is None:
        white_box_images = defense.white_box_images
    require(white_box_images >= 1, f"--white_box_images={white_box_images}: at least 1 needed.")
    attacks = default_attacks(default_epsilon(test.image_shape)) if attacks is None else attacks
    require(len(attacks) > 0, "attacks: none given, at least one needed.")
    labels = [label_of(attack) for attack in attacks]
    for label in labels:
        require(labels.count(label) == 1, f"attacks: {label} given more than once.")
    measure = _Measurements(defense, test)
    classifier = Judge(defense.classifier)
    pipeline = Judge(defense.defend(), defense.batch_size)
    judged = columns(pipeline)
    measure.add("none", "none", 0.0, "none", classifier.predict(test, "clean"))
    predicted = pipeline.predict(test, "clean, purified")
    for column in judged:
        measure.add(column.name, "none", 0.0, "none", *column.judge(test, predicted))
    few = test.take(white_box_images)
    for attack, label in zip(attacks, labels, strict=True):
        crafted = classifier.attack(attack, test)
        epsilon = getattr(attack, "epsilon", None)
        measure.add("none", label, epsilon, "white_box", classifier.predict(crafted))
        predicted = pipeline.predict(crafted, f"{label}, purified")
        for column in judged:
            found = column.judge(crafted, predicted)
            measure.add(column.name, label, epsilon, "grey_box", *found)
        crafted = pipeline.attack(strongest(attack), few)
        for column in judged:
            further = column.attacked_further(strongest(attack), few, crafted)
            found = column.judge(further, pipeline.predict(further))
            measure.add(column.name, label, epsilon, "white_box", *found)
    measure.add_worst_cases()
    return measure.report(attacks, labels)


class _Measurements:
    """Collects predictions and makes the report of them."""

    def __init__(self, defense: Defense, test: Split) -> None:
        self.defense = defense
        self.test = test
        self.rows: list[Row] = []
        self.predictions: dict[str, np.ndarray] = {"labels": test.labels}
        self.excesses: dict[str, np.ndarray] = {}
        self._clock = time.monotonic()

    def add(
        self,
        defense: str,
        attack: str,
        epsilon: float | None,
        threat_model: str,
        predicted: np.ndarray,
        excess: np.ndarray | None = None,
    ) -> None:
        key = f"{defense}/{attack}/{threat_model}"
        self.predictions[key] = predicted
        if excess is not None:
            self.excesses[key] = excess
        self._add_row(defense, attack, epsilon, threat_model, self._right(key))

    def _right(self, key: str) -> np.ndarray:
        """bool [n]: classified as the label, or, where it was attacked, refused."""
        predicted = self.predictions[key]
        right = predicted == self.test.labels[: len(predicted)]
        return right if key.endswith("/none/none") else right | (predicted == REFUSED)

    def add_worst_cases(self) -> None:
        """Per column, the images that withstood every attack: what an attacker with a choice leaves.

        Attacks without a radius fool every image, from however far; they count only where there
        are no others.
        """
        attacked = [row for row in self.rows if row.attack != "none"]
        attacked = [row for row in attacked if row.epsilon is not None] or attacked
        epsilons = {row.epsilon for row in attacked}
        for defense, threat_model in dict.fromkeys((r.defense, r.threat_model) for r in attacked):
            keys = [
                f"{defense}/{row.attack}/{threat_model}"
                for row in attacked
                if (row.defense, row.threat_model) == (defense, threat_model)
            ]
            n = min(len(self.predictions[key]) for key in keys)
            standing = self._right(f"{defense}/none/none")[:n]
            for key in keys:
                standing &= self._right(key)[:n]
            epsilon = None if None in epsilons else max(epsilons)
            self._add_row(defense, "worst_case", epsilon, threat_model, standing)

    def _add_row(
        self,
        defense: str,
        attack: str,
        epsilon: float | None,
        threat_model: str,
        correct: np.ndarray,
    ) -> None:
        now = time.monotonic()
        classifier = self.defense.classifier.name
        self.rows.append(
            Row.measured(
                correct,
                dataset=self.test.dataset,
                classifier=classifier,
                defense=defense,
                trained_with="none" if defense == "none" else self.defense.trained_with,
                attack=attack,
                epsilon=None if epsilon is None else float(epsilon),
                threat_model=threat_model,
                seconds=round(now - self._clock, 3),
            )
        )
        self._clock = now

    def report(self, attacks: Sequence[Attack], labels: Sequence[str]) -> Report:
        report = Report(
            rows=tuple(self.rows),
            attacks=tuple(f"`{attack}`" for attack in attacks),
            notes=(self.test.note,) if self.test.note else (),
            detections=detections(self.excesses),
            restored=restored(self.predictions, self.defense.name, labels),
            predictions=self.predictions,
            excesses=self.excesses,
        )
        return dataclasses.replace(report, sanity=tuple(report.suspicions()))
