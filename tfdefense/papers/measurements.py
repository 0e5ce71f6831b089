"""One cell of a table: a defence before a classifier, under one attack; grey box, and white box beside it."""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.attacks.core.spec import attack_from
from tfdefense.classifiers import FrozenClassifier
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import DefendedClassifier
from tfdefense.evaluation.runner import Judge
from tfdefense.papers.store import Store
from tfdefense.papers.targets import SCHEMA, Artefact, Classifier, Examples, Trained
from tfdefense.training.run_directory import versions, write_text
from tfdefense.utils.statistics import wilson


@dataclasses.dataclass(frozen=True)
class Measured:
    """How many of n images are classified correctly."""

    correct: int
    n: int

    @property
    def percent(self) -> float:
        """100 * correct / n; NaN of none."""
        return 100 * self.correct / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval, in percent; all of it where n is 0."""
        low, high = wilson(self.correct, self.n) if self.n else (0.0, 1.0)
        return 100 * low, 100 * high


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was measured for a cell.

    Attributes:
      ours: as the paper measures it: the attack knows the classifier alone.
      undefended: the classifier alone on the same images.
      white_box: the attack knows the defence too; None for benign images.
      seconds: that measuring took.
    """

    ours: Measured
    undefended: Measured
    white_box: Measured | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class Cell(Artefact):
    """See above.

    Attributes:
      classifier: the one that stands behind the defence, and that grey-box examples are made against.
      examples: those; None for benign images.
      defense: trained, perhaps with another classifier; None for none.
      images: of the examples, how many are judged; of benign images, how many.
      white_box_images: how many are attacked with the defence known.
      fooled_only: count only images that the classifier was right about, and is not after the attack.

    Of a defence that detects, what it makes of images is judged, without asking its detector.
    """

    kind = "cells"

    classifier: Classifier
    examples: Examples | None
    defense: Trained | None
    images: int
    white_box_images: int
    fooled_only: bool = False

    @property
    def title(self) -> str:
        attack = self.examples.attack.partition(":")[0] if self.examples else "benign"
        defense = self.defense.defense if self.defense else "undefended"
        return f"{self.classifier.title} {defense} {attack}"

    def path(self, store: Store) -> Path:
        return super().path(store).with_suffix(".json")

    def is_done(self, store: Store) -> bool:
        return self.outcome(store) is not None

    def record(self, store: Store) -> Mapping[str, Any] | None:
        """All that was written down when it was measured, here or elsewhere; None if it was not, or the file is damaged."""
        with contextlib.suppress(OSError, ValueError):
            here = json.loads(self.path(store).read_text())
            if _outcome(here) is not None:
                return here
        elsewhere = store.measured.get(self.key)
        return elsewhere if _outcome(elsewhere) is not None else None

    def outcome(self, store: Store) -> Outcome | None:
        """What was measured; None if nothing was."""
        return _outcome(self.record(store))

    def make(self, store: Store) -> None:
        began = time.monotonic()
        classifier = self.classifier.load(store)
        pipeline = self._pipeline(store, classifier)
        clean = store.dataset(self.classifier.dataset).test.take(self.images)
        split = clean
        if self.examples is not None:
            made = self.examples.load(store).adversarial[: self.images]
            split = dataclasses.replace(clean, images=np.asarray(made))
        undefended = Judge(classifier).predict(split)
        right = undefended == split.labels
        judged = Judge(pipeline, pipeline.defense.batch_size) if pipeline else None
        correct = judged.predict(split) == split.labels if judged else right
        if self.fooled_only:
            counted = (Judge(classifier).predict(clean) == clean.labels) & ~right
            right, correct = right[counted], correct[counted]
        white_box = self._white_box(judged, clean) if judged else _measured(right)
        outcome = Outcome(
            _measured(correct),
            _measured(right),
            white_box if self.examples is not None else None,
            round(time.monotonic() - began, 1),
        )
        write_text(self.path(store), self._text(outcome, clean.note, store))

    def _pipeline(self, store: Store, classifier: FrozenClassifier) -> DefendedClassifier | None:
        if self.defense is None:
            return None
        guarded = None if self.defense.classifier == self.classifier else classifier
        return self.defense.load(store, guarded).defend()

    def _white_box(self, judged: Judge, clean: Split) -> Measured | None:
        if self.examples is None:
            return None
        few = clean.take(self.white_box_images)
        attacked = judged.attack(attack_from(self.examples.attack), few)
        return _measured(judged.predict(attacked) == attacked.labels)

    def _text(self, outcome: Outcome, note: str, store: Store) -> str:
        about: dict[str, Any] = {
            "schema": SCHEMA,
            "title": self.title,
            "key": self.key,
            "depends_on": self.depends_on(),
            **dataclasses.asdict(outcome),
            "made_with": versions(),
            "images": store.fingerprints(self.classifier.dataset),
            "note": note,
        }
        return json.dumps(about, indent=2) + "\n"


def _outcome(record: Any) -> Outcome | None:
    """What a record tells; None of one that is damaged or of another version."""
    with contextlib.suppress(KeyError, TypeError):
        if record["schema"] == SCHEMA:
            return Outcome(
                Measured(**record["ours"]),
                Measured(**record["undefended"]),
                Measured(**record["white_box"]) if record["white_box"] else None,
                record["seconds"],
            )
    return None


def _measured(correct: np.ndarray) -> Measured:
    return Measured(int(np.sum(correct)), len(correct))
