"""Evaluation of a defence in one call."""

from collections.abc import Sequence

from tfdefense.attacks import Attack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.evaluation.attack_plan import AttackPlan
from tfdefense.evaluation.evaluator import Evaluator
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.threat_models import ThreatModels
from tfdefense.networks.surrogates import requested_surrogates, use_surrogates


def evaluate(
    defense: Defense,
    test: Split,
    attacks: Sequence[Attack] | None = None,
    white_box_images: int | None = None,
    threat_models: ThreatModels | None = None,
) -> Report:
    """Attack the classifier and purify the images (grey box), then attack the pipeline (white box).

    A defence with a detector is evaluated twice: with the detector, and as "<name>_without_detector".
    With the detector, an attacked image that is refused counts as correct and a clean one as wrong
    (Meng and Chen 2017), and the white-box attack evades detector and classifier at once.

    White-box attacks try every surrogate gradient that the defence declares: see `each_surrogate`.
    A randomised defence has two more white-box attackers: see `randomized_white_box`.

    Each FGSM that uses the true label gets a row with the predicted label, because the true label
    leaks into the image. The report ends with the checks of `tfdefense.evaluation.checks`.

    Args:
      defense: the defence, with the classifier that it protects.
      test: images that were not used for training or model selection.
      attacks: None means `default_attacks` with the usual radius for the images.
      white_box_images: largest number of images for attacks on the pipeline, which take longer than
        attacks on the classifier; None means as many as `defense.budget` says.
      threat_models: what the attacker knows; None means grey box and white box.

    Raises:
      UserError: images of another shape, no attack, or no image left to count.
    """
    chosen = None if attacks is None else tuple(attacks)
    plan = AttackPlan(chosen, white_box_images, threat_models or ThreatModels())
    return evaluate_plan(defense, test, plan)


def evaluate_plan(defense: Defense, test: Split, plan: AttackPlan) -> Report:
    """Evaluate a defence as `evaluate` does, with an attack plan that may store adversarial images."""
    evaluator = Evaluator(defense, test, plan.completed(defense, test))
    with use_surrogates(*(plan.surrogates or requested_surrogates())):
        evaluator.evaluate_clean()
        for attack in evaluator.attacks:
            evaluator.evaluate_attack(attack)
        if "black_box" in evaluator.threat_models:
            evaluator.evaluate_black_box()
        return evaluator.report()
