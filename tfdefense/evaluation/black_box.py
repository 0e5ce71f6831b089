"""Black-box attackers of a report: one sees scores, one sees only predicted classes."""

from collections.abc import Sequence

import numpy as np

from tfdefense.attacks import Attack, HopSkipJump, Square
from tfdefense.attacks.core.starting_points import lacks_starting_point
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import NORMS, ResultKey


def black_box_attacks(
    attacks: Sequence[Attack], epsilon: float, queries: int
) -> tuple[Attack, Attack]:
    """Return the attackers: Square, which sees logits, and HopSkipJump, which sees classes.

    Args:
      attacks: attacks of the report; the first of each kind is used as it is.
      epsilon: L-infinity radius of an attack that is not among them.
      queries: its largest number of queries for each image.
    """
    square = [attack for attack in attacks if isinstance(attack, Square)]
    hop_skip_jump = [attack for attack in attacks if isinstance(attack, HopSkipJump)]
    return (
        square[0] if square else Square(epsilon=epsilon, queries=queries),
        hop_skip_jump[0] if hop_skip_jump else HopSkipJump(epsilon=epsilon, queries=queries),
    )


def starting_point_notes(measurements: Measurements) -> list[str]:
    """Return a sentence for each row of HopSkipJump with images that have no starting point."""
    notes = []
    for text, results in measurements.per_image.items():
        key = ResultKey.parse(text)
        if key.attack.split(":")[0] != HopSkipJump.name or key.threat_model == "grey_box":
            continue
        is_fooled = results.predicted != measurements.test.labels[: len(results)]
        linf = results.perturbation[:, NORMS.index("linf")]
        missing = int(np.sum(lacks_starting_point(is_fooled, linf)))
        if missing:
            notes.append(
                f"{key.attack} ({key.threat_model}) has no starting point on {key.defense} for"
                f" {missing:,} of {len(results):,} images: every random image that it tried has"
                " their class. They count as correct."
            )
    return notes
