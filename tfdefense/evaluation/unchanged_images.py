"""Images that an attack gave up: it returned them unchanged, so they count as correct."""

import numpy as np

from tfdefense.attacks import HopSkipJump
from tfdefense.attacks.core.starting_points import lacks_starting_point
from tfdefense.attacks.registry import ATTACK_LIBRARIES
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import NORMS, PerImageResults, ResultKey

_ATTACKED = ("white_box", "black_box")  # The attack was on the pipeline of the row.


def unchanged_image_notes(measurements: Measurements) -> list[str]:
    """Return a sentence for each row of an attack that gave images up.

    HopSkipJump has no starting point for them. An attack of another library failed on them or found
    nothing.
    """
    notes = []
    for text, results in measurements.per_image.items():
        key = ResultKey.parse(text)
        reason = _reason(key.attack.split(":")[0])
        if reason is None or key.threat_model not in _ATTACKED:
            continue
        unchanged = _count_unchanged(results, measurements.test.labels)
        if unchanged:
            pipeline = "the undefended classifier" if key.defense == "none" else key.defense
            notes.append(
                f"{key.attack} ({key.threat_model}) returned {unchanged:,} of {len(results):,} images"
                f" of {pipeline} unchanged: {reason} They count as correct."
            )
    return notes


def _reason(name: str) -> str | None:
    """Return why the attack, or the library, of this name may return images unchanged."""
    if name == HopSkipJump.name:
        return "it has no starting point, because every random image that it tried has their class."
    if name in ATTACK_LIBRARIES.entries:
        return f"{name} failed on them or found nothing."
    return None


def _count_unchanged(results: PerImageResults, labels: np.ndarray) -> int:
    is_fooled = results.predicted != labels[: len(results)]
    return int(
        np.sum(lacks_starting_point(is_fooled, results.perturbation[:, NORMS.index("linf")]))
    )
