"""HopSkipJump compared with that of ART at equal queries."""

import numpy as np
import pytest

from tfdefense.attacks import HopSkipJump
from tfdefense.attacks.core.spec import parse_attack

pytest.importorskip("art", reason="tfdefense[art] is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "order"), [("l2", "2"), ("linf", "inf")])
def test_its_median_distance_is_not_above_that_of_art(norm, order, toy_model, toy_split):
    """The medians are of the images that both attacks fool; ours fools no fewer."""
    few = toy_split.take(9)
    theirs = parse_attack(f"art:HopSkipJump:max_iter=4:norm={order}")
    art = theirs.run(toy_model, few.images, few.labels)
    queries = int(np.mean(art.queries))
    ours = HopSkipJump(norm=norm, queries=queries).run(toy_model, few.images, few.labels)
    assert np.mean(ours.queries) <= queries + 1
    both = np.asarray(art.success) & np.asarray(ours.success)
    assert both.any()
    assert np.mean(ours.success) >= np.mean(art.success)
    medians = [np.median(np.asarray(getattr(result, norm))[both]) for result in (ours, art)]
    assert medians[0] < 1.1 * medians[1]
