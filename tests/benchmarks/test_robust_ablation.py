"""benchmarks/robust_ablation.py: rows of equal cost, and flags and stores that it refuses."""

import argparse
import importlib
import json

import pytest

from tests.docs.markdown import ROOT
from tfdefense.errors import UserError
from tfdefense.experiments.from_flags import experiment_from_flags


@pytest.fixture
def ablation(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("robust_ablation")


def config_of(changes):
    flags = {"defense": "robust_purifier", **changes}
    return experiment_from_flags(flags).defense.hyperparameters


def test_all_rows_cost_the_same_number_of_gradients(ablation):
    for rows in (ablation.GREY_ROWS, ablation.COLOR_ROWS):
        first, *others = (config_of(changes) for changes in rows.values())
        cost = 3 * 6000 * ablation.gradients_per_image(first)
        for config in others:
            passes, images = ablation.equal_cost(config, first, 6000, 3)
            assert 0 < images <= 6000
            found = passes * images * ablation.gradients_per_image(config)
            assert found == pytest.approx(cost, rel=1e-3)


def test_a_row_with_twice_the_attack_makes_fewer_passes(ablation):
    rows = {name: config_of(changes) for name, changes in ablation.COLOR_ROWS.items()}
    assert ablation.equal_cost(rows["PGD with 2 steps"], rows["recipe"], 6000, 3) == (2, 6000)
    assert ablation.equal_cost(rows["cosine schedule"], rows["recipe"], 6000, 3) == (3, 6000)
    # Ten steps of PGD for five: less than one pass, so fewer images.
    grey = {name: config_of(changes) for name, changes in ablation.GREY_ROWS.items()}
    given = grey["corners, 10 inner steps"], grey["from corners"], 1100, 1
    assert ablation.equal_cost(*given) == (1, 600)


def test_each_row_in_colour_makes_one_change(ablation):
    recipe = config_of(ablation.COLOR_ROWS["recipe"])
    for name, changes in ablation.COLOR_ROWS.items():
        changed = {
            key for key, value in vars(config_of(changes)).items() if value != vars(recipe)[key]
        }
        needed = {"PGD with 2 steps": 2, "small_unet": 3, "recipe": 0}.get(name, 1)
        assert len(changed) == needed, (name, changed)
    assert {*ablation.MAIN} <= {*ablation.GREY_ROWS, *ablation.COLOR_ROWS}


def budget(**changes):
    values = dict.fromkeys(("classifier", "augmentation", "mirror", "mixed_precision"))
    values |= {"dataset": "gtsrb", "train_images": 30, "epochs": 3, "images": 5, "split": "test"}
    return argparse.Namespace(**values, **changes)


def test_stored_rows_are_taken_over_with_the_same_budget_alone(ablation, tmp_path):
    given, file = budget(output=tmp_path), tmp_path / "rows.jsonl"
    assert ablation.load_rows(file, given) == []
    file.write_text(json.dumps({"row": "recipe", "seed": 0}) + "\n")
    assert ablation.load_rows(file, given) == [{"row": "recipe", "seed": 0}]
    given.images = 6
    with pytest.raises(UserError, match=r"has rows with --images=5\. Give the same flags"):
        ablation.load_rows(file, given)


def test_tables_have_n_and_intervals_and_the_range_over_seeds(ablation):
    counts = dict.fromkeys(("clean", *ablation.ATTACKS), (9, 10))
    rows = [
        {"row": "recipe", "seed": seed, **counts, "worst": (right, 10)}
        for seed, right in enumerate((4, 6))
    ] + [{"row": "noise 2", "seed": 0, **counts, "worst": (5, 10)}]
    text = "\n".join(ablation.make_tables(rows))
    assert "40.0% [16.8, 68.7] n=10" in text
    assert "| recipe | 2 | 50.0% | 40.0% | 60.0% |" in " ".join(text.split())
    assert text.count("noise 2") == 1


@pytest.mark.parametrize("seeds", ["", "0,0", "a", "-1", "0,"])
def test_seeds_are_different_whole_numbers(ablation, seeds):
    assert ablation.parse_seeds("0,2") == [0, 2]
    with pytest.raises(UserError, match=f"--seeds={seeds}: different whole numbers"):
        ablation.parse_seeds(seeds)
