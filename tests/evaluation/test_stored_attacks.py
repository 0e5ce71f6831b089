import contextlib
import fcntl
import os

import numpy as np
import pytest

import tfdefense
from tests.reports import NO_CHECKS, evaluate_without_checks
from tfdefense.attacks import BIM, FGSM, Square
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


@contextlib.contextmanager
def locked_by_another(directory):
    """Hold the lock of a directory as another process would; it must be free."""
    handle = os.open(directory / ".lock", os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def test_stored_images_can_be_used_by_two_evaluations(bit_depth, toy_split, tmp_path, monkeypatch):
    attack, runner = FGSM(epsilon=0.2), ModelRunner(bit_depth.defend())
    first, _ = stored_attacks.attack_split(runner, attack, toy_split, tmp_path)
    (directory,) = (tmp_path / "attacks").iterdir()
    attacked, run = [], FGSM.run
    monkeypatch.setattr(FGSM, "run", lambda self, *rest: attacked.append(self) or run(self, *rest))
    with locked_by_another(directory):
        again, _ = stored_attacks.attack_split(runner, attack, toy_split, tmp_path)
        assert not attacked
        np.testing.assert_array_equal(again.images, first.images)
        (shard,) = directory.glob("shards/*.npz")
        content = shard.read_bytes()
        with np.load(shard) as archive:
            outside = {**archive, "adversarial": 1 - archive["adversarial"]}
        np.savez(shard, **{name: each for name, each in outside.items() if name != "checksum"})
        assert shard.read_bytes() != content
        stored_attacks.attack_split(runner, attack, toy_split, tmp_path)
        assert len(attacked) == 1
        shard.write_bytes(b"damaged")
        stored_attacks.attack_split(runner, attack, toy_split, tmp_path)
        assert len(attacked) == 2
        shard.unlink()
        stored_attacks.attack_split(runner, attack, toy_split, tmp_path)
        assert len(attacked) == 3


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
