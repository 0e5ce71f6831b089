import numpy as np
import pytest

from tfdefense.evaluation.checks.registry import CHECKS
from tfdefense.evaluation.checks.sizes import (
    FAST_PROBES,
    PROBES,
    CheckSizes,
    PassSeconds,
    choose_sizes,
    count_passes,
)

LARGEST = CheckSizes(images=100, steps=40, draws=10_000)
SECONDS = PassSeconds(gradient=3e-3, prediction=1e-3, undefended=1e-3, graph=1.0)
ALL_STAND, NONE_STAND = np.ones(100, bool), np.zeros(100, bool)


def seconds_of(sizes, withstood=ALL_STAND):
    return SECONDS.of(count_passes(list(PROBES), sizes, withstood))


def chosen(allowed, withstood=ALL_STAND):
    return choose_sizes(LARGEST, allowed, SECONDS, list(PROBES), withstood)


def test_checks_name_only_known_probes():
    needed = {probe for check in CHECKS for probe in check.probes}
    assert needed | {"curve", "suspicion"} == set(PROBES)
    assert set(PROBES) > FAST_PROBES


def test_sizes_that_fit_are_not_reduced():
    assert chosen(seconds_of(LARGEST)) == LARGEST
    # Without an image that withstands the attacks, nothing needs noise or restarts.
    assert seconds_of(LARGEST, NONE_STAND) < 0.1 * seconds_of(LARGEST)
    assert chosen(seconds_of(LARGEST, NONE_STAND), NONE_STAND) == LARGEST


@pytest.mark.parametrize("share", [0.5, 0.1, 0.05, 0.02])
def test_sizes_fit_and_are_powers_of_two(share):
    allowed = share * seconds_of(LARGEST)
    sizes = chosen(allowed)
    assert seconds_of(sizes) <= allowed
    assert sizes.images in (100, 64, 32, 16, 10)
    assert sizes.steps in (40, 20)
    assert sizes.draws in (10_000, *(2**power for power in range(7, 14)))


def test_draws_are_reduced_before_images():
    few_draws = chosen(0.4 * seconds_of(LARGEST))
    assert (few_draws.images, few_draws.steps) == (100, 40)
    assert few_draws.draws < 10_000
    assert chosen(0.02 * seconds_of(LARGEST)).images < 100


def test_a_small_change_of_speed_does_not_change_the_sizes():
    allowed = 0.1 * seconds_of(LARGEST)
    assert chosen(allowed) == chosen(0.98 * allowed)


def test_smallest_sizes_are_used_even_if_they_take_longer():
    assert chosen(0.0) == CheckSizes(images=10, steps=20, draws=128)
    small = CheckSizes(images=2, steps=10, draws=100)
    sizes = choose_sizes(small, 0.0, SECONDS, list(PROBES), ALL_STAND)
    assert sizes == CheckSizes(images=2, steps=10, draws=100)
