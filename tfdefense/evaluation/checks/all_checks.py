"""What a sceptic asks of a robustness figure, answered by computation.

After Carlini et al., "On Evaluating Adversarial Robustness", 2019, section 3 and 4, and Athalye, Carlini,
Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 3.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfdefense.attacks import Square
from tfdefense.evaluation.checks.diagnostics import Diagnostics
from tfdefense.evaluation.measurements import Measurements
from tfdefense.utils.statistics import wilson_interval

# An attack that fools this share of images more than the report's own is not to be explained by chance.
_TOLERATED = 0.01
_BLIND = 0.05


@dataclasses.dataclass(frozen=True)
class Check:
    """A question, and what came out.

    Attributes:
      name: the question in a few words.
      passed: whether the figures may be trusted as far as it goes.
      verdict: what was found, in words and numbers.
    """

    name: str
    passed: bool
    verdict: str


def all_checks(measure: Measurements, probe: Diagnostics, judged: Sequence[str]) -> tuple[Check, ...]:
    """Every check of a report.

    Args:
      measure: what the report has measured.
      probe: of the pipeline, on a few images.
      judged: the defence's columns; the first as it is used, the last without a detector.
    """
    return (
        no_label_leaking(measure, judged[0]),
        white_box_is_strongest(measure, probe, judged),
        gradients_exist(probe),
        loss_rises(probe),
        step_size_does_not_matter(probe),
        attacks_converged(probe),
        falls_to_chance(probe),
        noise_finds_nothing(probe),
        batches_do_not_matter(probe),
    )


def no_label_leaking(measure: Measurements, defense: str) -> Check:
    """Attacked images are not classified better than clean ones, which would mean that they tell the label."""
    name = "Attacks do not help the classifier"
    rows = [row for row in measure.rows if row.defense == defense]
    clean = rows[0]
    # Refusing an attacked image is right and a clean one wrong, so a detector may well score higher.
    if any(cell.excess is not None for cell in measure.cells.values()):
        return Check(name, True, "Not asked: refused images count as right only when attacked.")
    # Of images that were chosen for being right when clean, all were.
    better = [row for row in rows[1:] if row.ci_low > max(clean.ci_high, row.clean_accuracy)]
    if not better:
        return Check(name, True, f"No attack is above the {clean.accuracy:.1%} of clean images.")
    worst = max(better, key=lambda row: row.accuracy)
    return Check(
        name,
        False,
        f"{worst.attack} ({worst.threat_model.replace('_', ' ')}) scores {worst.accuracy:.1%}, above the"
        f" {clean.accuracy:.1%} of clean images: it writes the label into the image, and the defence reads it.",
    )


def white_box_is_strongest(measure: Measurements, probe: Diagnostics, judged: Sequence[str]) -> Check:
    """Whoever knows everything does at least as well as those who know less, and with gradients as without."""
    name = "White box is the strongest attacker"
    white, others, verdicts = measure.standing(judged[0], "white_box"), [], []
    for threat_model in ("grey_box", "transfer", "black_box"):
        if any(row.threat_model == threat_model for row in measure.rows):
            standing = measure.standing(judged[0], threat_model)
            others.append((threat_model.replace("_", " "), white, standing))
    others += _square_against_gradients(measure, judged[0])
    passed = True
    for who, white, standing in others:
        n = min(len(white), len(standing))
        missed = int(np.sum(white[:n] & ~standing[:n]))
        passed &= _few(missed, n)
        verdicts.append(f"{missed} of {n:,} ({who})")
    if not {"black box", "square"} & {who for who, *_ in others}:
        missed = int(np.sum(probe.square_fell()))
        passed &= _few(missed, probe.n)
        verdicts.append(f"{missed} of {probe.n:,} (square, {probe.queries:,} queries)")
    told = "Images that withstand the white box and fall to less: " + ", ".join(verdicts) + "."
    return Check(
        name,
        passed,
        told + _unless(passed, "The white-box attacks here are too weak, or gradients are masked."),
    )


def _square_against_gradients(
    measure: Measurements, judged: str
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """("square", what withstands the others, what withstands it), for each ball that both are in the white box of.

    Square is a witness of what gradients miss, so it is no part of what it is held against. Of AutoAttack, which
    ends with square, nobody can tell what its gradients found.
    """
    balls: dict[tuple[float, bool], set[str]] = {}
    for row in measure.rows:
        white = (row.defense, row.threat_model) == (judged, "white_box")
        if white and row.epsilon is not None and row.attack != "worst_case":
            balls.setdefault((row.epsilon, "norm=l2" in row.attack), set()).add(row.attack)
    found = []
    for attacks in balls.values():
        blind = {label for label in attacks if label.split(":")[0] == Square.name}
        if blind and attacks - blind:
            both = [
                measure.standing(judged, "white_box", labels) for labels in (attacks - blind, blind)
            ]
            found.append(("square", *both))
    return found


def gradients_exist(probe: Diagnostics) -> Check:
    """Attacks that follow gradients have some to follow."""
    blind = int(np.sum(probe.usual.no_gradient))
    passed = blind <= _BLIND * probe.n
    told = f"The gradient is zero at every pixel of {blind} of {probe.n:,} images."
    masked = "White-box attacks are blind there: declare a gradient (bpda), or trust square alone."
    return Check("Gradients exist", passed, told + _unless(passed, masked))


def loss_rises(probe: Diagnostics) -> Check:
    """An ascent ascends."""
    losses = probe.usual.losses.mean(axis=1)
    first, last, highest = losses[0], losses[-1], losses.max()
    passed = bool(last > first + 1e-3 and last >= 0.9 * highest)
    told = (
        f"Mean loss along {len(losses) - 1} steps: {first:.3g} at the start, {last:.3g} at the end,"
        f" {highest:.3g} at most."
    )
    return Check("The loss rises", passed, told + _unless(passed, "Gradients mislead the attack."))


def step_size_does_not_matter(probe: Diagnostics) -> Check:
    """Other steps, one big one among them, fool no images that the report's attacks do not."""
    tried = {"1 step of epsilon": probe.single, "steps of a quarter": probe.coarse}
    tried |= {"steps of a quarter as long": probe.fine}
    missed = {what: int(np.sum(probe.standing & fell)) for what, fell in tried.items()}
    passed = all(_few(count, probe.n) for count in missed.values())
    told = ", ".join(f"{what}: {count} of {probe.n:,}" for what, count in missed.items())
    return Check(
        "Step size does not matter",
        passed,
        f"Images that only other steps fool: {told}."
        + _unless(
            passed, "The attacks of this report follow misleading gradients, or are too weak."
        ),
    )


def attacks_converged(probe: Diagnostics) -> Check:
    """More steps and more restarts fool no more images."""
    longer = int(np.sum(probe.standing & probe.longer))
    restarted = int(np.sum(probe.standing & probe.restarted))
    passed = _few(longer, probe.n) and _few(restarted, probe.n)
    told = (
        f"Images that fall only to {probe.long:,} steps: {longer} of {probe.n:,}; only to"
        f" {probe.RESTARTS} restarts: {restarted}."
    )
    advice = "The attacks are too weak: add pgd:steps=200:restarts=5 or auto_attack."
    return Check("Attacks have converged", passed, told + _unless(passed, advice))


def falls_to_chance(probe: Diagnostics) -> Check:
    """With no bound left, nothing stands."""
    accuracy, chance = probe.curve["white_box"][-1], 1 / probe.num_classes
    passed = wilson_interval(round(accuracy * probe.n), probe.n)[0] <= chance
    curve = ", ".join(
        f"{share:.0%} at {epsilon:.3g}"
        for epsilon, share in zip(probe.curve["epsilon"], probe.curve["white_box"], strict=True)
    )
    advice = "An image may turn into any other there, so the attack does not work."
    told = f"White-box accuracy over epsilon, n = {probe.n:,}: {curve}."
    return Check("Accuracy falls to chance", passed, told + _unless(passed, advice))


def noise_finds_nothing(probe: Diagnostics) -> Check:
    """Blind trial and error fools no image that the attacks did not."""
    fell = int(np.sum(probe.noise_fell()))
    standing = int(probe.standing.sum())
    told = f"{probe.draws:,} random draws on each of the {standing} of {probe.n:,} images that stand: {fell} fall."
    passed = _few(fell, probe.n)
    return Check("Random noise finds nothing", passed, told + _unless(passed, "Attacks are blind."))


def batches_do_not_matter(probe: Diagnostics) -> Check:
    """An image's logits are the same in whatever company it comes."""
    changed, difference = probe.batch_dependence()
    passed = changed == 0 and difference <= 1e-3
    told = (
        f"Alone and in a batch, {changed} of {probe.n:,} images are classified otherwise; logits differ by"
        f" {difference:.1e} of their size at most."
    )
    advice = "Something is not in inference mode."
    return Check("Batches do not matter", passed, told + _unless(passed, advice))


def _few(count: int, n: int) -> bool:
    """Whether `count` of n is no sign of more than the tolerated share."""
    return wilson_interval(count, n)[0] <= _TOLERATED


def _unless(passed: bool, warning: str) -> str:
    return "" if passed else f" {warning}"
