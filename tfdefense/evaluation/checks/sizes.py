"""Sizes of the checks, and the passes through the pipeline that they need."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

MIN_IMAGES = 10
MIN_STEPS = 20
MIN_DRAWS = 128
MAX_QUERIES = 1_000
RESTARTS = 5
SMALL_NOISE_DRAWS = 8
# Radii of the accuracy curve in units of epsilon; 1 is added, where an image can become any other.
CURVE_FACTORS = (0, 0.25, 0.5, 1, 1.5, 2)


@dataclasses.dataclass(frozen=True)
class CheckSizes:
    """Effort of the checks.

    Attributes:
      images: number of images, the first of the white-box images.
      steps: steps of PGD. Their total length is 4/3 epsilon.
      draws: random perturbations of each image.
      curve: whether the accuracy is measured at several radii.
    """

    images: int
    steps: int
    draws: int
    curve: bool = True

    @property
    def many_steps(self) -> int:
        """Number of steps of the longer PGD."""
        return 5 * self.steps // 2

    @property
    def queries(self) -> int:
        """Largest number of queries of the square attack."""
        return min(MAX_QUERIES, self.draws)


class Passes(NamedTuple):
    """Work of a probe.

    Attributes:
      gradients: images times gradients of the defended pipeline.
      predictions: images times predictions of the defended pipeline.
      undefended: images times gradients of the classifier alone.
      graphs: number of functions to compile.
    """

    gradients: float = 0
    predictions: float = 0
    undefended: float = 0
    graphs: float = 0

    @property
    def weight(self) -> float:
        """The work as a number of predictions, for a progress bar; a gradient counts as three."""
        return 3 * self.gradients + self.predictions + self.undefended

    def plus(self, other: "Passes") -> "Passes":
        """Return the sum."""
        return Passes(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


PassCount = Callable[[CheckSizes, int], Passes]
"""`count(sizes, withstood)` returns the passes of a probe if so many images withstand the attacks."""

# Runs that stop at success are counted in full only for images that withstand the attacks.
PROBES: Mapping[str, PassCount] = {
    "trace": lambda sizes, _: Passes(sizes.images * (sizes.steps + 1)),
    "step_sizes": lambda sizes, withstood: Passes(withstood * (2 * sizes.steps + 4)),
    "more_effort": lambda sizes, withstood: Passes(
        withstood * (RESTARTS * (sizes.steps + 1) + sizes.many_steps + 1)
    ),
    "margin_loss": lambda sizes, withstood: Passes(withstood * 2 * (sizes.steps + 1)),
    "unbounded": lambda sizes, withstood: Passes(sizes.images * 5 + withstood * sizes.steps / 2),
    "surrogate": lambda sizes, withstood: Passes(
        gradients=withstood * (sizes.steps + 2), predictions=withstood, graphs=2 * (withstood > 0)
    ),
    "noise": lambda sizes, withstood: Passes(
        predictions=withstood * sizes.draws, graphs=int(withstood > 0)
    ),
    "square": lambda sizes, withstood: Passes(
        predictions=withstood * sizes.queries, graphs=int(withstood > 0)
    ),
    "single_images": lambda sizes, _: Passes(predictions=4 * sizes.images, graphs=1),
    "repeats": lambda sizes, _: Passes(predictions=2 * sizes.images),
    "small_noise": lambda sizes, _: Passes(predictions=(SMALL_NOISE_DRAWS + 1) * sizes.images),
    "rounding": lambda sizes, _: Passes(predictions=2 * sizes.images),
    # An attack on another pipeline, which is compiled for it.
    "suspicion": lambda sizes, _: Passes(
        gradients=sizes.images * (sizes.steps + 1),
        predictions=3 * sizes.images,
        undefended=sizes.images * (sizes.steps + 1),
        graphs=1,
    ),
    "curve": lambda sizes, withstood: _curve_passes(sizes, withstood) if sizes.curve else Passes(),
}
PGD_PROBES = frozenset(PROBES) - {
    *("noise", "square", "single_images", "repeats", "small_noise", "rounding"),
}
BALL_PROBES = PGD_PROBES - {"unbounded"} | {"noise", "square"}  # They look within epsilon.
FAST_PROBES = frozenset({"trace", "single_images", "repeats", "small_noise", "rounding"})


def _curve_passes(sizes: CheckSizes, withstood: int) -> Passes:
    radii = len(CURVE_FACTORS)
    return Passes(
        gradients=radii * (4 * sizes.images + withstood * sizes.steps / 2),
        predictions=2 * radii * sizes.images,
        undefended=radii * sizes.images * (sizes.steps + 1),
    )


class PassSeconds(NamedTuple):
    """Measured seconds of one of each of `Passes`."""

    gradient: float
    prediction: float
    undefended: float
    graph: float

    def of(self, passes: Passes) -> float:
        """Return the seconds that passes take."""
        return sum(count * each for count, each in zip(passes, self, strict=True))


def count_passes(probes: Sequence[str], sizes: CheckSizes, withstood: np.ndarray) -> Passes:
    """Return the passes of several probes.

    Args:
      probes: keys of `PROBES`.
      sizes: effort.
      withstood: bool [>= sizes.images], images that withstand the attacks of the report.
    """
    standing = int(withstood[: sizes.images].sum())
    total = Passes()
    for probe in probes:
        total = total.plus(PROBES[probe](sizes, standing))
    return total


def choose_sizes(
    largest: CheckSizes,
    allowed_seconds: float,
    seconds: PassSeconds,
    probes: Sequence[str],
    withstood: np.ndarray,
) -> CheckSizes:
    """Return the largest sizes whose probes take at most `allowed_seconds`, or else the smallest.

    Sizes are those of `largest` or smaller powers of two, so a small change of speed rarely changes
    them. Random draws are reduced first while they cost most, then images, then steps.
    """
    sizes = largest
    while seconds.of(count_passes(probes, sizes, withstood)) > allowed_seconds:
        smaller = _reduce(sizes, seconds, probes, withstood)
        if smaller == sizes:
            break
        sizes = smaller
    return sizes


def _reduce(
    sizes: CheckSizes, seconds: PassSeconds, probes: Sequence[str], withstood: np.ndarray
) -> CheckSizes:
    """Return the next smaller sizes; the same if there are none."""
    drawing = [probe for probe in probes if probe in ("noise", "square")]
    others = [probe for probe in probes if probe not in drawing]
    drawing_seconds, other_seconds = (
        seconds.of(count_passes(group, sizes, withstood)) for group in (drawing, others)
    )
    if sizes.draws > MIN_DRAWS and drawing_seconds > other_seconds:
        return dataclasses.replace(sizes, draws=_halve(sizes.draws, MIN_DRAWS))
    if sizes.images > MIN_IMAGES:
        return dataclasses.replace(sizes, images=_halve(sizes.images, MIN_IMAGES))
    if sizes.steps > MIN_STEPS:
        return dataclasses.replace(sizes, steps=MIN_STEPS)
    return dataclasses.replace(sizes, draws=min(sizes.draws, _halve(sizes.draws, MIN_DRAWS)))


def _halve(value: int, lowest: int) -> int:
    """Return the next smaller power of two, at least `lowest`."""
    return max(lowest, 2 ** ((value - 1).bit_length() - 1))
