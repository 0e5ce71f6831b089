"""A defence under attack: by those who know the classifier, and by those who know the defence."""

import dataclasses
import time
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import keras

from tfdefense.attacks import (
    BIM,
    FGSM,
    PGD,
    Attack,
    FGSMPredicted,
    Square,
    default_epsilon,
    enable_stop_at_success,
)
from tfdefense.attacks.core.adversarial_dataset import craft
from tfdefense.attacks.core.spec import format_attack
from tfdefense.classifiers.core.fingerprint import known_fingerprint
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import DirectoryLockedError, require
from tfdefense.evaluation.checks.all_checks import all_checks
from tfdefense.evaluation.checks.diagnostics import Diagnostics
from tfdefense.evaluation.detection import measure_detection
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.pipelines import EvaluatedPipeline, evaluated_pipelines
from tfdefense.evaluation.recovery import measure_recovery, fooled_images
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.evaluation.threat_models import ThreatModels


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
    threats: ThreatModels | None = None,
    runs_dir: str | Path | None = None,
) -> Report:
    """Attacks the classifier alone, purifies the result (grey box), then attacks the whole (white box).

    A defence that detects is judged twice. With its detector, an attacked image counts as right if it is
    refused, a clean one only if it is let through (MagNet's way), and the white-box attacker evades detector
    and classifier together; and as if it had none, "<name>_without_detector".

    Every FGSM gets a neighbour that follows the model's own prediction, because the true label leaks into the
    image. The report ends with checks of itself: see `checks`.

    Args:
      defense: what to judge, in front of the classifier that it was made with.
      test: images that nothing was trained or chosen on.
      attacks: None means `default_attacks` at the radius usual for such images.
      white_box_images: attacks on the whole, dearer by far, run on this many images at most; None means as
        many as the defence says.
      threats: who attacks; None means grey box and white box.
      runs_dir: keeps adversarial images in its `attacks/`, as `crafting.craft` does, so that an evaluation that
        was killed goes on, and one of another defence of the same classifier finds them; None keeps nothing.

    Raises:
      UserError: images of another shape, no attack, or no image left to count.
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
    attacks = with_neighbours(attacks)
    labels = [format_attack(attack) for attack in attacks]
    for label in labels:
        require(labels.count(label) == 1, f"attacks: {label} given more than once.")
    if defense.detects:
        _require_aim(attacks, test.num_classes + 1)
    evaluation = _Evaluation(defense, test, white_box_images, threats or ThreatModels(), runs_dir)
    evaluation.judge_clean()
    for attack in attacks:
        evaluation.judge_attack(attack)
    if "black_box" in evaluation.threats:
        evaluation.judge_black_box(attacks)
    return evaluation.report(attacks)


def with_neighbours(attacks: Sequence[Attack]) -> list[Attack]:
    """`attacks`, and after every FGSM with the true label the same one with the predicted label."""
    found: list[Attack] = []
    for attack in attacks:
        found.append(attack)
        if type(attack) is FGSM:
            neighbour = FGSMPredicted(**dataclasses.asdict(attack))
            found += [neighbour] if neighbour not in (*attacks, *found) else []
    return found


class _Evaluation:
    """One defence under attack, step by step."""

    def __init__(
        self,
        defense: Defense,
        test: Split,
        white_box_images: int,
        threats: ThreatModels,
        runs_dir: str | Path | None,
    ) -> None:
        self.defense = defense
        self.test = test
        self.few = test.take(white_box_images)
        self.threats = threats
        self.runs_dir = runs_dir
        self.classifier = ModelRunner(defense.classifier)
        self.pipeline = ModelRunner(defense.defend(), defense.batch_size)
        self.undefended = EvaluatedPipeline("none", self.classifier)
        self.defended = evaluated_pipelines(self.pipeline)
        self.source = threats.source and ModelRunner(threats.source)
        self.measure = Measurements(defense, test)

    def judge_clean(self) -> None:
        for judged in ([self.undefended], self.defended):
            self._add(judged, "none", 0.0, "none", self.test)

    def judge_attack(self, attack: Attack) -> None:
        label, epsilon = format_attack(attack), getattr(attack, "epsilon", None)
        crafted = self._attack(self.classifier, attack, self.test)
        self._add([self.undefended], label, epsilon, "white_box", crafted)
        if "grey_box" in self.threats:
            self._add(self.defended, label, epsilon, "grey_box", crafted, "white_box")
        self._attack_whole(enable_stop_at_success(attack), label, "white_box")
        if "transfer" in self.threats:
            crafted = self._attack(self.source, attack, self.test)
            self._add([self.undefended], label, epsilon, "transfer", crafted)
            self._add(self.defended, label, epsilon, "transfer", crafted, "transfer")

    def judge_black_box(self, attacks: Sequence[Attack]) -> None:
        given = [attack for attack in attacks if isinstance(attack, Square)]
        usual = Square(
            epsilon=self._epsilon(attacks), queries=min(1_000, self.defense.random_draws)
        )
        attack = given[0] if given else usual
        crafted = self._attack(self.classifier, attack, self.few)
        self._add([self.undefended], format_attack(attack), attack.epsilon, "black_box", crafted)
        self._attack_whole(attack, format_attack(attack), "black_box")

    def report(self, attacks: Sequence[Attack]) -> Report:
        measure = self.measure
        norms = {attack.norm for attack in _bounded(attacks)}
        measure.add_worst_cases(mixed_norms=len(norms) > 1)
        within = [format_attack(attack) for attack in _bounded(attacks, "linf")]
        names = [column.name for column in self.defended]
        # The checks are of purifier and classifier: a detector is no part of the gradient's way.
        probe = Diagnostics(
            self.classifier,
            self.pipeline,
            self.few.take(self.defense.checked_images),
            self._epsilon(attacks),
            measure.standing(names[-1], "white_box", within) if within else None,
            self.defense.random_draws,
            self.defense.checked_steps,
        ).ascend()
        return Report(
            rows=tuple(measure.rows),
            attacks=tuple(f"`{attack}`" for attack in attacks),
            sanity=all_checks(measure, probe, names),
            notes=self._notes(attacks, norms),
            detections=measure_detection(measure.cells),
            restored=measure_recovery(measure.cells, self.test.labels, self.defense.name),
            curve={"n": probe.n, "steps": probe.steps, **probe.curve},
            fingerprints=self._fingerprints(),
            labels=self.test.labels,
            cells=measure.cells,
        )

    def _attack(self, judge: ModelRunner, attack: Attack, split: Split) -> Split:
        """The attacked images of `split`; from those that are kept, where they are."""
        classifier = getattr(judge.model, "classifier", judge.model)
        if self.runs_dir is None or not isinstance(classifier.model, keras.Model):
            return judge.attack(attack, split)
        began = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # Of images without gradient: a check tells of them.
                arguments = "test", judge.batch_size, None, self.runs_dir
                kept = craft(judge.model, split, attack, *arguments)
        except DirectoryLockedError:  # Another evaluation is making the same.
            return judge.attack(attack, split)
        self.measure.credit(kept.seconds - (time.monotonic() - began))
        return dataclasses.replace(split, images=kept.adversarial)

    def _attack_whole(self, attack: Attack, label: str, threat_model: str) -> None:
        epsilon = getattr(attack, "epsilon", None)
        crafted = self._attack(self.pipeline, attack, self.few)
        for column in self.defended:
            further = column.attacked_further(attack, self.few, crafted)
            self._add([column], label, epsilon, threat_model, further)

    def _add(
        self,
        judged: Sequence[EvaluatedPipeline],
        label: str,
        epsilon: float | None,
        threat_model: str,
        crafted: Split,
        undefended: str | None = None,
    ) -> None:
        """Judges what an attack made, and keeps it; with `fooled_only`, where it fooled this undefended column."""
        what = f"{'clean' if label == 'none' else label}, {judged[0].pipeline.model.name}"
        cell = judged[0].pipeline.judge(crafted, self.test, what)
        if undefended is not None and self.threats.fooled_only:
            fooled = fooled_images(self.measure.cells, self.test.labels, label, undefended)
            cell = dataclasses.replace(cell, counted=fooled)
        for column in judged:
            self.measure.add(column.name, label, epsilon, threat_model, column.judge(crafted, cell))

    def _epsilon(self, attacks: Sequence[Attack]) -> float:
        """The radius in L-infinity that the report is about."""
        radii = [float(attack.epsilon) for attack in _bounded(attacks, "linf")]
        return max(radii, default=default_epsilon(self.test.image_shape))

    def _fingerprints(self) -> dict[str, str]:
        # One image tells splits apart, and reports of more images from none.
        found = {
            "images": data_fingerprint(self.test.take(1)),
            "classifier": known_fingerprint(self.defense.classifier),
        }
        return {what: fingerprint for what, fingerprint in found.items() if fingerprint}

    def _notes(self, attacks: Sequence[Attack], norms: Collection[str]) -> tuple[str, ...]:
        notes = [self.test.note] if self.test.note else []
        if self.defense.detects:
            aiming = {attack: attack.aiming(self.test.num_classes + 1) for attack in attacks}
            notes += [
                f"{format_attack(attack)} takes no targets: past the detector {_named(other)} aims in its place."
                for attack, other in aiming.items()
                if other != attack
            ]
        if len(norms) > 1:
            notes.append(
                f"worst_case is over attacks in {' and '.join(sorted(norms))}, each within its own radius."
            )
        if self.threats.fooled_only:
            notes.append(
                "Grey-box and transfer rows count only the images that the classifier was right about, and is not after the attack."
            )
        if "transfer" in self.threats:
            notes.append(f"Transfer: the attack saw {self.threats.source.name}, and nothing else.")
        return tuple(notes)


def _named(attack: Attack) -> str:
    """With all parts of one that has several."""
    return ", ".join(part.name for part in getattr(attack, "attacks", (attack,)))


def _require_aim(attacks: Sequence[Attack], num_classes: int) -> None:
    """A figure of an attack that cannot follow the detector would not be one of a white box."""
    for attack in attacks:
        require(
            attack.aiming(num_classes) is not None,
            f"attacks: {attack.name} takes no targets and has no stand-in that does (`aiming`), so it cannot aim past a"
            " detector.",
        )


def _bounded(attacks: Sequence[Attack], norm: str | None = None) -> list[Attack]:
    """Those with a radius, in this norm (None: in any); DeepFool, for one, has a norm and no radius."""
    bounded = [attack for attack in attacks if getattr(attack, "epsilon", None) is not None]
    return [attack for attack in bounded if norm in (None, attack.norm)]
