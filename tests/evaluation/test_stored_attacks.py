import numpy as np
import pytest

import tfdefense
from tests.reports import NO_CHECKS, evaluate_without_checks
from tfdefense.attacks import BIM
from tfdefense.evaluation import AttackPlan
from tfdefense.evaluation.evaluate_defense import evaluate_plan


@pytest.mark.slow
def test_stored_images_are_reused_by_other_defences_too(
    bit_depth, toy_model, toy_split, tmp_path, monkeypatch
):
    plan = AttackPlan((BIM(epsilon=0.2),), 6, runs_dir=tmp_path, checks=NO_CHECKS)
    first = evaluate_plan(bit_depth, toy_split, plan)
    assert len(list((tmp_path / "attacks").iterdir())) == 2
    attacked = []
    run = BIM.run
    monkeypatch.setattr(
        BIM,
        "run",
        lambda self, model, *rest: attacked.append(model.name) or run(self, model, *rest),
    )
    again = evaluate_plan(bit_depth, toy_split, plan)
    assert not attacked
    other = evaluate_plan(tfdefense.defenses.SpatialSmoothing(toy_model), toy_split, plan)
    assert attacked == ["spatial_smoothing+toy"]
    without_storage = evaluate_without_checks(bit_depth, toy_split, plan.attacks, 6)
    for report in (first, again, without_storage):
        for key, results in first.per_image.items():
            np.testing.assert_array_equal(report.per_image[key].predicted, results.predicted)
    row = ("none", "bim", "white_box")
    assert other.row(*row).accuracy == first.row(*row).accuracy
    assert again.row(*row).seconds >= 0.5 * first.row(*row).seconds, (
        "the row has the time of the attack, although its images were stored"
    )
