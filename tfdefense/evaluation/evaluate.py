"""A defence under attack: by those who know the classifier, and by those who know the defence."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfdefense.attacks import (
    BIM,
    FGSM,
    PGD,
    Attack,
    FGSMPredicted,
    default_epsilon,
    strongest,
)
from tfdefense.attacks.base import Model
from tfdefense.data.dataset import Split
from tfdefense.defenses.base import Defense
from tfdefense.errors import require
from tfdefense.evaluation.report import Report, Row
from tfdefense.progress import Progress

_BATCH = 250
_WHITE_BOX_IMAGES = 1_000


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
    white_box_images: int = _WHITE_BOX_IMAGES,
) -> Report:
    """Attacks the classifier alone, purifies the result (grey box), then attacks the whole (white box).

    Args:
      defense: what to judge, in front of the classifier that it was made with.
      test: images that nothing was trained or chosen on.
      attacks: None means `default_attacks` at the radius usual for such images.
      white_box_images: the white-box attacks, dearer by far, run on this many images at most.

    Raises:
      UserError: images of another shape, or no attack.
    """
    require(
        test.image_shape == defense.classifier.image_shape,
        f"test: images of {test.image_shape} given, {defense.classifier.image_shape} needed.",
    )
    require(white_box_images >= 1, f"--white_box_images={white_box_images}: at least 1 needed.")
    attacks = default_attacks(default_epsilon(test.image_shape)) if attacks is None else attacks
    require(len(attacks) > 0, "attacks: none given, at least one needed.")
    measure = _Measurements(defense, test)
    classifier, pipeline = Judge(defense.classifier), Judge(defense.defend())
    measure.add("none", "none", 0.0, "none", classifier.predict(test, "clean"))
    measure.add(defense.name, "none", 0.0, "none", pipeline.predict(test, "clean, purified"))
    few = test.take(white_box_images)
    for attack in attacks:
        crafted = classifier.attack(attack, test)
        epsilon = getattr(attack, "epsilon", None)
        measure.add("none", attack.name, epsilon, "white_box", classifier.predict(crafted))
        measure.add(defense.name, attack.name, epsilon, "grey_box", pipeline.predict(crafted))
        crafted = pipeline.attack(strongest(attack), few)
        measure.add(defense.name, attack.name, epsilon, "white_box", pipeline.predict(crafted))
    measure.add_worst_cases()
    return measure.report(attacks)


class Judge:
    """A model, attacked and asked in batches, with progress."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._predict: Callable | None = None

    def predict(self, split: Split, what: str | None = None) -> np.ndarray:
        """Predicted classes int32 [N]."""

        def classes(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            del labels
            return tf.argmax(self.model(images), -1, output_type=tf.int32)

        self._predict = self._predict or _compiled(classes, split)
        return self._in_batches(self._predict, split, what)

    def attack(self, attack: Attack, split: Split) -> Split:
        """The images of `split`, attacked."""

        def craft(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            return attack(self.model, images, labels)

        images = self._in_batches(craft, split, f"{attack.name} on {self.model.name}")
        return dataclasses.replace(split, images=images)

    @staticmethod
    def _in_batches(
        function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], split: Split, what: str | None
    ) -> np.ndarray:
        progress = Progress(what, len(split)) if what else None
        parts = []
        for start in range(0, len(split), _BATCH):
            part = slice(start, start + _BATCH)
            images, labels = tf.constant(split.images[part]), tf.constant(split.labels[part])
            parts.append(function(images, labels).numpy())
            if progress:
                progress.advance(len(parts[-1]))
        if progress:
            progress.close()
        return np.concatenate(parts)


def _compiled(function: Callable, split: Split) -> Callable:
    """`function(images, labels)` traced once, for any number of images like those of `split`."""
    images = tf.TensorSpec([None, *split.image_shape], tf.float32)
    labels = tf.TensorSpec([None], tf.int32)
    return tf.function(function).get_concrete_function(images, labels)


class _Measurements:
    """Collects predictions and makes the report of them."""

    def __init__(self, defense: Defense, test: Split) -> None:
        self.defense = defense
        self.test = test
        self.rows: list[Row] = []
        self.predictions: dict[str, np.ndarray] = {"labels": test.labels}
        self._clock = time.monotonic()

    def add(
        self,
        defense: str,
        attack: str,
        epsilon: float | None,
        threat_model: str,
        predicted: np.ndarray,
    ) -> None:
        self.predictions[f"{defense}/{attack}/{threat_model}"] = predicted
        correct = predicted == self.test.labels[: len(predicted)]
        self._add_row(defense, attack, epsilon, threat_model, correct)

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
            clean = self.predictions[f"{defense}/none/none"]
            n = min(len(self.predictions[key]) for key in keys)
            standing = clean[:n] == self.test.labels[:n]
            for key in keys:
                standing &= self.predictions[key][:n] == self.test.labels[:n]
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
                trained_with="none" if defense == "none" else classifier,
                attack=attack,
                epsilon=None if epsilon is None else float(epsilon),
                threat_model=threat_model,
                seconds=round(now - self._clock, 3),
            )
        )
        self._clock = now

    def report(self, attacks: Sequence[Attack]) -> Report:
        report = Report(
            rows=tuple(self.rows),
            attacks=tuple(f"`{attack}`" for attack in attacks),
            notes=(self.test.note,) if self.test.note else (),
            predictions=self.predictions,
        )
        return dataclasses.replace(report, sanity=tuple(report.suspicions()))
