"""Images that white-box attacks find through each surrogate gradient of a defence."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import PerImageResults, ResultKey
from tfdefense.evaluation.threat_models import WHITE_BOX_EOT

ANOTHER_DRAW = "another draw"  # In `SurrogateFinding.fooled`; no surrogate has this name.

_THREAT_MODELS = ("white_box", WHITE_BOX_EOT)


@dataclasses.dataclass(frozen=True)
class SurrogateFinding:
    """Images that one attack fools through each surrogate gradient.

    Attributes:
      attack, threat_model: as in the row.
      n: number of images.
      accuracy: share of the n images that are correct before the attack and under it.
      first_accuracy: the same share if the attack uses only the surrogate that it tries first: the
        default, unless other surrogates were requested. None for an attack without a radius, which
        returns the smallest perturbation of all surrogates, and for an attack with parts: each part
        tries all surrogates before the next one, so later parts miss images that the first
        surrogate would have left them. None also for `WHITE_BOX_EOT`: a later surrogate attacks
        images that the draws of the attacker withstand, also if the deciding draw does not.
      fooled: surrogate -> number of images that are correct before the attack and that it fools
        first or, without a radius, by the smallest perturbation. In the order in which they are
        tried. For `WHITE_BOX_EOT`, `ANOTHER_DRAW` counts images that withstand the draws of the
        attacker and are wrong only in the deciding one; it is missing if there are none.
    """

    attack: str
    threat_model: str
    n: int
    accuracy: float
    first_accuracy: float | None
    fooled: dict[str, int]


def measure_surrogates(
    measurements: Measurements, pipeline: str, with_parts: Collection[str] = ()
) -> tuple[SurrogateFinding, ...]:
    """Return a finding for each white-box attack that tried several surrogates, and the worst case.

    Args:
      measurements: results per image, with worst cases.
      pipeline: name of the defended pipeline.
      with_parts: labels of the attacks that run others (`Attack.has_parts`).
    """
    findings = []
    for text, results in {**measurements.per_image, **measurements.worst_cases}.items():
        key, names = ResultKey.parse(text), results.surrogates
        is_white_box = key.defense == pipeline and key.threat_model in _THREAT_MODELS
        has_choice = results.surrogate is not None and names is not None and len(names) > 1
        if is_white_box and has_choice:
            findings.append(_finding(measurements, key, results, with_parts))
    return tuple(findings)


def _finding(
    measurements: Measurements,
    key: ResultKey,
    results: PerImageResults,
    with_parts: Collection[str],
) -> SurrogateFinding:
    """Return the finding of one attack, or of the attacks behind a worst case."""
    assert results.surrogate is not None
    assert results.surrogates is not None
    attacks = [key.attack] if results.attacks is None else [str(a) for a in results.attacks[1:]]
    decisive = [key._replace(attack=attack) for attack in attacks]
    n = len(results)
    correct = measurements.correct(ResultKey(key.defense, "none", "none"))[:n]
    withstands, withstands_first = correct.copy(), correct.copy()
    for attacked in decisive:
        under_attack = measurements.correct(attacked)[:n]
        withstands &= under_attack
        surrogate = measurements.per_image[str(attacked)].surrogate
        if surrogate is not None:  # A later one attacks only images that withstand the first one.
            under_attack |= surrogate[:n] > 0
        withstands_first &= under_attack
    is_known = (
        key.threat_model != WHITE_BOX_EOT
        and _have_radius(measurements, decisive)
        and not set(attacks) & set(with_parts)
    )
    fooled = correct & ~withstands
    counts = {
        str(name): int(np.sum(fooled & (results.surrogate == index)))
        for index, name in enumerate(results.surrogates)
    }
    if key.threat_model == WHITE_BOX_EOT:
        has_choice = _decided_with_choice(measurements, decisive, results)
        by_draw = int(np.sum(fooled & has_choice & (results.surrogate < 0)))
        counts |= {ANOTHER_DRAW: by_draw} if by_draw else {}
    return SurrogateFinding(
        key.attack,
        key.threat_model,
        n,
        accuracy=float(withstands.mean()),
        first_accuracy=float(withstands_first.mean()) if is_known else None,
        fooled=counts,
    )


def _decided_with_choice(
    measurements: Measurements, decisive: Sequence[ResultKey], results: PerImageResults
) -> np.ndarray:
    """Return bool [n]: images whose deciding attack tries surrogates. Square, for one, does not."""
    if results.fooled_by is None:
        return np.ones(len(results), bool)
    tries = [measurements.per_image[str(key)].surrogates is not None for key in decisive]
    return np.array([False, *tries])[results.fooled_by]  # The first index means clean images.


def _have_radius(measurements: Measurements, keys: Sequence[ResultKey]) -> bool:
    without = {
        ResultKey(row.defense, row.attack, row.threat_model)
        for row in measurements.rows
        if row.epsilon is None
    }
    return without.isdisjoint(keys)
