"""Notes and fingerprints of a report."""

from collections.abc import Sequence

from tfdefense.attacks import Attack
from tfdefense.attacks.core.spec import format_attack
from tfdefense.classifiers.core.fingerprint import known_fingerprint
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.defenses.core.defense import Defense
from tfdefense.evaluation.attack_plan import attack_epsilon, attack_norm, bounded_attacks
from tfdefense.evaluation.threat_models import ThreatModels


def report_notes(
    defense: Defense, test: Split, attacks: Sequence[Attack], threat_models: ThreatModels
) -> tuple[str, ...]:
    """Return sentences that a reader needs to interpret the rows of a report."""
    notes = [test.note] if test.note else []
    if defense.detects:
        notes += _targeted_attack_notes(attacks, test.num_classes + 1)
    norms = attack_norms(attacks)
    if len(norms) > 1:
        notes.append(
            f"The attacks have the norms {' and '.join(norms)}, each with its own radius. worst_case is"
            " over all of them."
        )
    without_radius = [format_attack(each) for each in attacks if attack_epsilon(each) is None]
    if norms and without_radius:
        notes.append(
            f"worst_case leaves out attacks without a radius: {', '.join(without_radius)}."
        )
    if threat_models.fooled_only:
        notes.append(
            "Grey-box and transfer rows count only images that the undefended classifier classifies"
            " correctly before the attack and wrongly after it."
        )
    if defense.is_randomized:
        notes.append(
            f"{defense.name} draws random numbers. Fixed randomness: they are a function of image and"
            f" seed, and the attack knows them. EOT: gradients are means over {threat_models.eot_draws}"
            f" draws. Resubmitted: {threat_models.resubmissions} draws judge each image."
        )
    if threat_models.source is not None and "transfer" in threat_models:
        notes.append(f"Transfer: the attack knows only the classifier {threat_models.source.name}.")
    return tuple(notes)


def attack_norms(attacks: Sequence[Attack]) -> list[str]:
    """Return the norms of the attacks that have a radius, sorted."""
    return sorted({str(attack_norm(attack)) for attack in bounded_attacks(attacks)})


def report_fingerprints(
    defense: Defense, test: Split, source: FrozenClassifier | None = None
) -> dict[str, str]:
    """Return fingerprints of "images", "classifier" and "source", without those that are unknown.

    They differ for different splits and weights that have the same name. "images" is that of the first
    image, and "images_10", "images_100" and "images_1000" are those of the first 10, 100 and 1,000,
    if there are so many. So reports on more and on fewer images of one split agree. "images_N" is
    that of all N images of the report.
    """
    found = {"images": data_fingerprint(test.take(1))}
    for count in sorted({10, 100, 1_000, len(test)}):
        if len(test) >= count:
            found[f"images_{count}"] = data_fingerprint(test.take(count))
    for name, classifier in (("classifier", defense.classifier), ("source", source)):
        fingerprint = None if classifier is None else known_fingerprint(classifier)
        if fingerprint is not None:
            found[name] = fingerprint
    return found


def _targeted_attack_notes(attacks: Sequence[Attack], num_classes: int) -> list[str]:
    """Return a note for each attack that another attack replaces to evade the detector."""
    notes = []
    for attack in attacks:
        targeted = attack.targeted_variant(num_classes)
        if targeted is not None and targeted != attack:
            parts = getattr(targeted, "attacks", (targeted,))
            names = ", ".join(part.name for part in parts)
            notes.append(
                f"{format_attack(attack)} takes no targets, so {names} attacks the detector instead."
            )
    return notes
