import numpy as np
import pytest

import tfdefense
from tests.reports import NO_CHECKS, evaluate_without_checks
from tfdefense.attacks import BIM, Square
from tfdefense.evaluation import AttackPlan, stored_attacks
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.runner import ModelRunner


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


@pytest.mark.parametrize(("queries", "files"), [(2, 1), (1_000_000, 3)])
def test_long_attacks_are_stored_a_few_images_at_a_time(
    bit_depth, toy_split, tmp_path, queries, files
):
    """An interruption of a long attack costs one file, not all images."""
    attack, runner = Square(epsilon=1.0, queries=queries), ModelRunner(bit_depth.defend())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_attacks, "_FEWEST_IMAGES", 4)
        stored_attacks.attack_split(runner, attack, toy_split.take(9), tmp_path)
    assert len(list(tmp_path.glob("attacks/*/shards/*.npz"))) == files
