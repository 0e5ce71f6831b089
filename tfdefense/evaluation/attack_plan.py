"""Attack plan of an evaluation, with its defaults and checks."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tfdefense.attacks import (
    APGDCE,
    APGDDLR,
    BIM,
    FGSM,
    PGD,
    Attack,
    FGSMPredicted,
    default_epsilon,
)
from tfdefense.attacks.core.spec import format_attack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.surrogate_choice import check_surrogates
from tfdefense.evaluation.threat_models import ThreatModels

_APGD_STEPS = 25


@dataclasses.dataclass(frozen=True)
class AttackPlan:
    """Attacks, threat models and number of images of an evaluation.

    Attributes:
      attacks: the attacks; None means `default_attacks` with `epsilon`.
      white_box_images: largest number of images for attacks on the defended pipeline, which take longer
        than attacks on the classifier; None means as many as `defense.budget` says.
      threat_models: what the attacker knows.
      runs_dir: directory whose `attacks/` stores adversarial images. An interrupted evaluation then
        resumes, and evaluations of other defences reuse the attacks on the classifier. None stores
        nothing.
      checks: which checks the report runs, and on how many images.
      eot_images: number of images for attacks that average over the draws of a randomised defence;
        None means `white_box_images` if it is given, else as many as `defense.budget` says.
      surrogates: surrogate gradients of the pipeline that white-box attacks try; None means all.
      validation: held-out clean images that calibrate the output `suspicion` for its table; None
        leaves the table out.
      epsilon: L-infinity radius of the default attacks and, if no attack has a radius in any norm,
        of checks and black-box attackers; None means the usual one for the images.
    """

    attacks: tuple[Attack, ...] | None = None
    white_box_images: int | None = None
    threat_models: ThreatModels = dataclasses.field(default_factory=ThreatModels)
    runs_dir: str | Path | None = None
    eot_images: int | None = None
    checks: CheckSettings = dataclasses.field(default_factory=CheckSettings)
    surrogates: tuple[str, ...] | None = None
    validation: Split | None = dataclasses.field(default=None, repr=False, compare=False)
    epsilon: float | None = None

    def completed(self, defense: Defense, test: Split) -> "AttackPlan":
        """Return the plan with the defaults for a defence and its test images.

        Each FGSM that uses the true label gets a neighbour that uses the predicted label.

        Raises:
          UserError: images of another shape, no attack, an attack given twice, one that needs more
            classes or larger images, one that cannot aim at a class although the defence has a detector, or a
            surrogate that the defence does not declare.
        """
        require(
            test.image_shape == defense.classifier.image_shape,
            f"test: has images of shape {test.image_shape}; the classifier needs"
            f" {defense.classifier.image_shape}.",
        )
        count = self.white_box_images
        count = defense.budget.white_box_images if count is None else count
        require(count >= 1, f"--white_box_images={count}: at least 1 is needed.")
        self.checks.require_images(min(count, len(test)))
        eot_images = self.eot_images
        if eot_images is None:
            budget = defense.budget.eot_images if self.white_box_images is None else count
            eot_images = min(count, budget)
        attacks, usual = self.attacks, default_epsilon(test.image_shape)
        epsilon = usual if self.epsilon is None else self.epsilon
        if attacks is None:
            attacks = default_attacks(epsilon, test.num_classes)
        if any(attack_epsilon(attack) is not None for attack in attacks):
            epsilon = usual  # Their radius may be one in another norm.
        require(len(attacks) > 0, "attacks: none given; at least one is needed.")
        require_fitting(attacks, test.image_shape, test.num_classes)
        attacks = add_predicted_label_attacks(attacks)
        require_distinct(attacks)
        if defense.detects:
            _require_targeted(attacks, test.num_classes + 1)
        check_surrogates(self.surrogates, defense)
        return dataclasses.replace(
            self,
            attacks=attacks,
            white_box_images=count,
            eot_images=eot_images,
            epsilon=epsilon,
        )


def default_attacks(epsilon: float, num_classes: int) -> tuple[Attack, ...]:
    """Return the attacks of a report without `--attacks`.

    PGD has the steps of BIM, ten of epsilon / 4, in place of its own 40 of epsilon / 30. The two
    Auto-PGD attacks stop at success and have few steps. They find what BIM and PGD miss in a small
    part of their time.

    Args:
      epsilon: L-infinity radius.
      num_classes: number of classes; with two, the DLR loss is not defined.
    """
    attacks = (
        FGSM(epsilon=epsilon),
        FGSMPredicted(epsilon=epsilon),
        BIM(epsilon=epsilon),
        PGD(epsilon=epsilon, steps=BIM.steps, relative_step_size=BIM.relative_step_size),
        APGDCE(epsilon=epsilon, steps=_APGD_STEPS),
        APGDDLR(epsilon=epsilon, steps=_APGD_STEPS),
    )
    return tuple(attack for attack in attacks if attack.min_classes <= num_classes)


def require_fitting(
    attacks: Sequence[Attack],
    image_shape: tuple[int, ...],
    num_classes: int,
    flag: str = "attacks",
) -> None:
    """Raise `UserError` for an attack that needs more classes or larger images; it names the flag.

    Args:
      attacks: the attacks.
      image_shape: (H, W, C) of the data.
      num_classes: number of classes of the data.
      flag: flag that gave the attacks.
    """
    for attack in attacks:
        require(
            attack.min_classes <= num_classes,
            f"--{flag}={attack.name}: needs at least {attack.min_classes} classes; the data has"
            f" {num_classes}. Leave it out; auto_attack uses only attacks that fit.",
        )
        side = attack.min_side
        require(
            side <= min(image_shape[:2]),
            f"--{flag}={attack.name}: needs images of at least {side}x{side} pixels in this norm; the"
            f" data has {image_shape[0]}x{image_shape[1]}. Leave it out, or choose norm=linf.",
        )


def require_distinct(attacks: Sequence[Attack]) -> None:
    """Raise `UserError` for two attacks with the same label, which would share a row."""
    labels = [format_attack(attack) for attack in attacks]
    for label in labels:
        require(
            labels.count(label) == 1,
            f"attacks: {label} given more than once. Give it once, with one radius.",
        )


def add_predicted_label_attacks(attacks: Sequence[Attack]) -> tuple[Attack, ...]:
    """Return the attacks with an `FGSMPredicted` after each `FGSM`, unless there is one of its name.

    FGSM with the true label leaks the label into the image (Kurakin et al. 2017), so its
    accuracy can be too high.
    """
    found: list[Attack] = []
    labels = {format_attack(attack) for attack in attacks}
    for attack in attacks:
        found.append(attack)
        if type(attack) is FGSM:
            neighbour = FGSMPredicted(**dataclasses.asdict(attack))
            found += [] if format_attack(neighbour) in labels else [neighbour]
    return tuple(found)


def bounded_attacks(attacks: Sequence[Attack], norm: str | None = None) -> list[Attack]:
    """Return the attacks with a radius, in one norm (None: in any). DeepFool has a norm but no radius."""
    return [
        attack
        for attack in attacks
        if attack_epsilon(attack) is not None and norm in (None, attack_norm(attack))
    ]


def attack_epsilon(attack: Attack) -> float | None:
    """Return the radius of an attack, or None if it has none."""
    return getattr(attack, "epsilon", None)


def largest_radius(attacks: Sequence[Attack], norm: str) -> float | None:
    """Return the largest radius of the attacks in one norm, or None if none has a radius in it."""
    radii = map(attack_epsilon, bounded_attacks(attacks, norm))
    return max((float(radius) for radius in radii if radius is not None), default=None)


def attack_norm(attack: Attack) -> str | None:
    """Return the norm of an attack, "linf" or "l2", or None if it has none."""
    return getattr(attack, "norm", None)


def _require_targeted(attacks: Sequence[Attack], num_classes: int) -> None:
    """Raise `UserError` for an attack that cannot evade a detector, because it aims at no class."""
    for attack in attacks:
        require(
            attack.targeted_variant(num_classes) is not None,
            f"attacks: {attack.name} takes no targets and has no targeted variant (`targeted_variant`), so it"
            " cannot evade a detector. Choose another attack.",
        )
