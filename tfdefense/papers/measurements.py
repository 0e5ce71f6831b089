"""Measurement of one cell of a paper's table: a classifier, perhaps a defence, and one attack."""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.attacks.core.spec import parse_attack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import DefendedClassifier
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import SCHEMA, StoredTarget
from tfdefense.papers.targets import ClassifierTarget, DefenseTarget, ExamplesTarget
from tfdefense.papers.undefended_predictions import CellImages
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.json_types import typed_items, typed_value
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.untrusted_file import read_json_file


@dataclasses.dataclass(frozen=True)
class CorrectCount:
    """Number of correctly classified images out of n."""

    correct: int
    n: int

    @property
    def percent(self) -> float:
        """Accuracy in percent; NaN if n is 0."""
        return 100 * self.correct / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy in percent; [0, 100] if n is 0."""
        low, high = wilson_interval(self.correct, self.n) if self.n else (0.0, 1.0)
        return 100 * low, 100 * high


@dataclasses.dataclass(frozen=True)
class CellMeasurement:
    """Counts of one cell.

    Attributes:
      ours: the paper's measurement: the defence against examples that were made for the classifier
        alone.
      undefended: the classifier alone on the same images.
      white_box: the defence against an attack that knows it; None for benign images.
      seconds: duration of the measurement, without predictions of the classifier that were stored
        before.
    """

    ours: CorrectCount
    undefended: CorrectCount
    white_box: CorrectCount | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class PaperCell(StoredTarget):
    """One cell of a paper's table, grey box, and its white-box neighbour.

    Purified images of a defence that detects are classified without asking its detector.

    Attributes:
      classifier: the classifier behind the defence, for which grey-box examples are made.
      examples: the grey-box examples; None for benign images.
      defense: the defence, trained with this or another classifier; None for the classifier alone.
      images: number of examples, or of benign images.
      white_box_images: number of images attacked with knowledge of the defence.
      fooled_only: count only images that the classifier gets right before the attack and wrong
        after it.
    """

    kind = "cells"

    classifier: ClassifierTarget
    examples: ExamplesTarget | None
    defense: DefenseTarget | None
    images: int
    white_box_images: int
    fooled_only: bool = False

    @property
    def title(self) -> str:
        attack = self.examples.attack.partition(":")[0] if self.examples else "benign"
        defense = self.defense.defense if self.defense else "undefended"
        return f"{self.classifier.title} {defense} {attack}"

    def path(self, store: TargetStore) -> Path:
        return super().path(store).with_suffix(".json")

    def is_done(self, store: TargetStore) -> bool:
        return self.measurement(store) is not None

    def record(self, store: TargetStore) -> Mapping[str, Any] | None:
        """Return the JSON record, of this store or another; None if there is no valid one."""
        with contextlib.suppress(ValueError):  # Missing, not a regular file, or damaged.
            stored = read_json_file(self.path(store))
            if _parse_record(stored) is not None:
                return stored
        known = store.known_records.get(self.key)
        return known if _parse_record(known) is not None else None

    def measurement(self, store: TargetStore) -> CellMeasurement | None:
        """Return the measurement; None if there is none yet."""
        return _parse_record(self.record(store))

    def make(self, store: TargetStore) -> None:
        start = time.monotonic()
        images = CellImages(self.classifier, self.examples, self.images)
        benign = CellImages(self.classifier, None, self.images)
        clean = benign.load(store)
        is_right_alone = images.undefended_predictions(store) == clean.labels
        is_right, white_box = is_right_alone, None
        if self.defense is not None:
            pipeline = self._pipeline(store, self.defense)
            runner = ModelRunner(pipeline, pipeline.defense.batch_size)
            is_right = runner.predict(images.load(store)) == clean.labels
            if self.examples is not None:
                white_box = self._white_box(runner, self.examples, clean)
        if self.fooled_only:
            is_counted = (benign.undefended_predictions(store) == clean.labels) & ~is_right_alone
            is_right_alone, is_right = is_right_alone[is_counted], is_right[is_counted]
        if self.defense is None and self.examples is not None:
            white_box = _count(is_right_alone)
        seconds = round(time.monotonic() - start, 1)
        measurement = CellMeasurement(_count(is_right), _count(is_right_alone), white_box, seconds)
        write_text_file(self.path(store), self._record_text(measurement, clean.note, store))

    def _pipeline(self, store: TargetStore, defense: DefenseTarget) -> DefendedClassifier:
        is_own = defense.classifier == self.classifier
        return defense.load(store, None if is_own else self.classifier.load(store)).defend()

    def _white_box(
        self, runner: ModelRunner, examples: ExamplesTarget, clean: Split
    ) -> CorrectCount:
        attack = parse_attack(examples.attack)
        attacked = runner.attack(attack, clean.take(self.white_box_images))
        return _count(runner.predict(attacked) == attacked.labels)

    def _record_text(self, measurement: CellMeasurement, note: str, store: TargetStore) -> str:
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "title": self.title,
            "key": self.key,
            "depends_on": self.key_fields(),
            **dataclasses.asdict(measurement),
            "made_with": package_versions(),
            "images": store.fingerprints(self.classifier.dataset),
            "note": note,
        }
        return json.dumps(record, indent=2) + "\n"


def _parse_record(record: Any) -> CellMeasurement | None:
    """Return the measurement in a record; None if the record is damaged or has another schema."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if typed_value(typed_value(record, dict)["schema"], int) != SCHEMA:
            return None
        typed_value(record["key"], str)
        typed_value(record.get("note", ""), str)
        for name in ("made_with", "images"):
            for value in typed_value(record.get(name, {}), dict).values():
                typed_value(value, str)
        white_box = record["white_box"]
        seconds = typed_value(record["seconds"], float)
        return CellMeasurement(
            _parse_count(record["ours"]),
            _parse_count(record["undefended"]),
            None if white_box is None else _parse_count(white_box),
            seconds,
        )
    return None


def _parse_count(content: Any) -> CorrectCount:
    """Return the count in a JSON object; raise `ValueError` or `TypeError` if it is none."""
    (count,) = typed_items([content], CorrectCount)
    if not 0 <= count.correct <= count.n:
        raise ValueError("more correct images than images")
    return count


def _count(is_correct: np.ndarray) -> CorrectCount:
    return CorrectCount(int(np.sum(is_correct)), len(is_correct))
