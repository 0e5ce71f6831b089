"""Black-box attackers of a report: one sees scores, one sees only predicted classes."""

from collections.abc import Sequence

from tfdefense.attacks import Attack, HopSkipJump, Square
from tfdefense.evaluation.attack_plan import largest_radius


def black_box_attacks(
    attacks: Sequence[Attack],
    image_shape: tuple[int, int, int],
    queries: int,
    usual_epsilon: float,
) -> tuple[Attack, Attack]:
    """Return the attackers: Square, which sees logits, and HopSkipJump, which sees classes.

    An attacker that is not among the attacks of the report has their largest L-infinity radius, or
    else their largest L2 radius, so that it can be compared with them.

    Args:
      attacks: attacks of the report; the first of each kind is used as it is.
      image_shape: (H, W, C); Square in L2 needs 10x10 pixels.
      queries: its largest number of queries for each image.
      usual_epsilon: the L-infinity radius if no attack of the report has a radius.
    """
    epsilon, norm = _choose_ball(attacks, image_shape, usual_epsilon)
    square = [attack for attack in attacks if isinstance(attack, Square)]
    hop_skip_jump = [attack for attack in attacks if isinstance(attack, HopSkipJump)]
    return (
        square[0] if square else Square(epsilon=epsilon, norm=norm, queries=queries),
        hop_skip_jump[0] if hop_skip_jump else HopSkipJump(epsilon, norm, queries),
    )


def _choose_ball(
    attacks: Sequence[Attack], image_shape: tuple[int, int, int], usual_epsilon: float
) -> tuple[float, str]:
    """Return the radius and norm of the attacks of a report."""
    for norm in ("linf", "l2"):
        radius = largest_radius(attacks, norm)
        if radius is not None and Square(norm=norm).min_side <= min(image_shape[:2]):
            return radius, norm
    return usual_epsilon, "linf"
