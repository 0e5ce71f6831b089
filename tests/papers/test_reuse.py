"""Lines on what is taken over from a store and a results folder, what is made again, and why."""

import dataclasses
import json

import pytest

from tests.papers.conftest import run_command
from tfdefense.errors import UserError
from tfdefense.papers import reproduce
from tfdefense.papers.budget import load_budget
from tfdefense.papers.recipes import (
    collect_recipes,
    load_recipes,
    load_stored_recipes,
    recipe_differences,
    save_recipes,
    store_recipes,
)
from tfdefense.papers.reproduce import FigureSelection, Reproduction
from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import ClassifierTarget, DefenseTarget, ExamplesTarget

COUNT = {"correct": 5, "n": 10}
LENET = ClassifierTarget("digits", "lenet", 2)


def make_record(cell, version="0.1.0", **changes):
    """Return a record of a cell, as version 0.1.0 wrote it."""
    return {
        "schema": 1,
        "title": cell.title,
        "key": cell.key,
        "depends_on": cell.key_fields(),
        **dict.fromkeys(("ours", "undefended", "white_box"), COUNT),
        "seconds": 1.0,
        "made_with": {"tfdefense": version},
        **changes,
    }


@pytest.fixture
def cells(small):
    """Figures of the small paper with their cells."""
    store = TargetStore(small / "store")
    return Reproduction(FigureSelection("small"), "smoke", store, small / "empty").all_cells


@pytest.fixture
def save_results(small, cells):
    """Function that writes a results folder with a record per figure, and its recipes."""

    def save(records):
        folder = small / "results" / "small"
        folder.mkdir(parents=True)
        (folder / "made.json").write_text(json.dumps({"schema": 1, "budget": "smoke"}))
        for table in "12":
            content = [
                {"figure": dataclasses.asdict(figure), "cell": record}
                for (figure, _), record in zip(cells, records, strict=True)
                if figure.table == table
            ]
            (folder / f"{table}.json").write_text(json.dumps(content))
        needed = [target for _, cell in cells for target in cell.prerequisites()]
        save_recipes(collect_recipes(needed), folder / "recipes.json")
        return folder

    return save


@pytest.fixture
def change_budget(monkeypatch):
    """Function that adds a rule to the budget of this version."""

    def change(**values):
        budget = load_budget("smoke")
        changed = dataclasses.replace(budget, rules=[*budget.rules, values])
        monkeypatch.setattr(reproduce, "load_budget", lambda name: changed)

    return change


def plan_lines():
    run = run_command("--all", "--dry_run")
    assert run.status == 0
    return run.printed.splitlines()


def test_measured_cells_are_taken_over(cells, save_results):
    save_results([make_record(cell) for _, cell in cells])
    assert "4 cells taken over (made by tfdefense 0.1.0)." in plan_lines()


def test_versions_are_counted(cells, save_results):
    versions = ["0.1.0", "0.2.0", "0.1.0", "0.1.0"]
    pairs = zip(cells, versions, strict=True)
    save_results([make_record(cell, version) for (_, cell), version in pairs])
    assert "4 cells taken over (made by tfdefense: 3 by 0.1.0, 1 by 0.2.0)." in plan_lines()


def test_an_empty_folder_has_nothing_to_take_over(small):
    assert not [line for line in plan_lines() if "taken over" in line or " again" in line]


def test_a_cell_of_another_recipe_names_the_differing_fields(cells, save_results, change_budget):
    save_results([make_record(cell) for _, cell in cells])
    change_budget(classifier="lenet", classifier_passes=3)
    lines = plan_lines()
    # The defence of the fourth figure was trained with this classifier.
    reason = "other recipe (classifier epochs: 3, was 2); made by tfdefense 0.1.0."
    assert f"4 cells measured again: {reason}" in lines
    assert not [line for line in lines if "taken over" in line]


def test_only_cells_of_another_recipe_are_measured_again(cells, save_results, change_budget):
    save_results([make_record(cell) for _, cell in cells])
    change_budget(defense="bit_depth", white_box_images=3)
    lines = plan_lines()
    assert "3 cells taken over (made by tfdefense 0.1.0)." in lines
    reason = "other recipe (white_box_images: 3, was 2); made by tfdefense 0.1.0."
    assert f"1 cell measured again: {reason}" in lines


def test_without_recorded_recipes_the_part_with_another_one_is_named(
    cells, save_results, change_budget
):
    folder = save_results([make_record(cell) for _, cell in cells])
    (folder / "recipes.json").write_text("[]")
    change_budget(classifier="mnist_cnn", classifier_passes=3)
    found = [line for line in plan_lines() if "measured again" in line]
    assert found == [
        "1 cell measured again: other recipe (classifier: the recipe before is not recorded; examples: the recipe"
        " before is not recorded); made by tfdefense 0.1.0."
    ]


def test_another_schema_and_damage_are_named(cells, save_results):
    changes = [{"schema": 0, "key": "0" * 32}, {"ours": None}, {}, {}]
    pairs = zip(cells, changes, strict=True)
    save_results([make_record(cell, **change) for (_, cell), change in pairs])
    lines = plan_lines()
    reason = "schema 0, this version needs 1; made by tfdefense 0.1.0."
    assert f"1 cell measured again: {reason}" in lines
    assert "1 cell measured again: damaged record; made by tfdefense 0.1.0." in lines


def test_a_store_of_another_recipe_names_the_differing_fields(small, cells):
    store = TargetStore(small / "runs/reproduce")
    (_, cell), *_ = cells
    earlier = dataclasses.replace(cell, images=10)
    earlier.path(store).parent.mkdir(parents=True)
    earlier.path(store).write_text(json.dumps(make_record(earlier)))
    for passes, version in ((1, "0.1.0"), (4, "0.2.0")):
        target = ClassifierTarget("digits", "lenet", passes)
        target.path(store).mkdir(parents=True)
        config = {"made_with": {"tfdefense": version}}
        (target.path(store) / "config.json").write_text(json.dumps(config))
        (target.path(store) / "classifier.keras").touch()
    store_recipes(collect_recipes([ClassifierTarget("digits", "lenet", 1)]), store)
    lines = plan_lines()
    reason = "other recipe (images: 12, was 10); made by tfdefense 0.1.0."
    assert f"1 cell measured again: {reason}" in lines
    # The recipe of the classifier of four epochs is not recorded, so the other one is compared.
    reason = "other recipe (epochs: 2, was 1); made by tfdefense 0.1.0."
    assert f"1 classifier trained again: {reason}" in lines


def test_an_earlier_target_without_a_recorded_recipe_is_named(small):
    store = TargetStore(small / "runs/reproduce")
    path = ClassifierTarget("digits", "lenet", 1).path(store)
    path.mkdir(parents=True)
    assert not [line for line in plan_lines() if " again" in line]  # Its training was killed.
    (path / "classifier.keras").touch()
    for name in ("lenet-0123456789ab.lease", "lenet-cgan-0123456789ab"):  # Not of this title.
        (store.path / "classifiers" / f"digits-{name}").mkdir()
    found = [line for line in plan_lines() if " again" in line]
    assert found == ["1 classifier trained again: other recipe, which is not recorded."]


def test_an_earlier_cell_counts_for_the_nearest_missing_one_only(small, cells, change_budget):
    change_budget(classifier="lenet", classifier_passes=3)
    store = TargetStore(small / "runs/reproduce")
    (_, cell) = cells[2]
    near = dataclasses.replace(cell, white_box_images=1)
    near.path(store).parent.mkdir(parents=True)
    near.path(store).write_text(json.dumps(make_record(near)))
    found = [line for line in plan_lines() if "measured again" in line]
    assert len(found) == 1
    assert found[0].startswith("1 cell measured again: other recipe (")


def test_targets_of_another_budget_are_no_earlier_versions(small, cells, monkeypatch):
    store = TargetStore(small / "runs/reproduce")
    smoke = load_budget("smoke")
    rule = {"classifier": "lenet", "classifier_passes": 5}
    budgets = {"smoke": smoke, "other": dataclasses.replace(smoke, rules=[*smoke.rules, rule])}
    monkeypatch.setattr(reproduce, "budget_names", lambda: list(budgets))
    monkeypatch.setattr(reproduce, "load_budget", budgets.__getitem__)
    run = Reproduction(FigureSelection("small"), "other", store, small / "empty")
    path = run.all_cells[0][1].classifier.path(store)
    path.mkdir(parents=True)
    (path / "classifier.keras").touch()
    planned = Reproduction(FigureSelection("small"), "smoke", store, small / "empty").plan()
    assert " again" not in planned


def test_one_damaged_recipe_does_not_remove_the_others(tmp_path):
    path = tmp_path / "recipes.json"
    recipes = collect_recipes([LENET])
    path.write_text(json.dumps({**recipes, "x": {}}))
    assert load_recipes(path) == recipes


def test_a_damaged_recipe_of_the_store_is_written_again(tmp_path):
    store, recipes = TargetStore(tmp_path), collect_recipes([LENET])
    store_recipes(recipes, store)
    (path,) = tmp_path.glob("recipes/*.json")
    path.write_text("{")
    store_recipes(recipes, store)
    assert set(load_stored_recipes(store)) == set(recipes)


def test_a_run_prints_the_lines_and_records_the_recipes(
    small, cells, save_results, change_budget, monkeypatch
):
    folder = save_results([make_record(cell) for _, cell in cells])
    change_budget(defense="bit_depth", white_box_images=3)
    monkeypatch.setattr(reproduce, "make_targets", lambda *_: None)
    before = load_recipes(folder / "recipes.json")
    run = run_command("--all")
    assert run.status == 0
    assert "3 cells taken over (made by tfdefense 0.1.0).\n1 cell measured again: " in run.printed
    stored = load_stored_recipes(TargetStore(small / "runs/reproduce"))
    assert {recipe["kind"] for recipe in stored.values()} == {"classifiers", "examples", "defenses"}
    assert before.items() <= load_recipes(folder / "recipes.json").items()
    keys = json.loads((folder / "1.json").read_text())[0]["cell"]["depends_on"]
    assert before[keys["classifier"]]["depends_on"]["passes"] == 2


def test_a_store_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="file: cannot be written"):
        store_recipes(collect_recipes([LENET]), TargetStore(tmp_path / "file"))


def differences(now, before):
    recipes = collect_recipes([now, before])
    fields = (recipes[target.key]["depends_on"] for target in (now, before))
    return recipe_differences(*fields, recipes)


def test_differences_of_attacks_and_options_are_named():
    now = ExamplesTarget(LENET, "fgsm:epsilon=0.3", None, "train")
    before = ExamplesTarget(LENET, "fgsm:epsilon=0.2", 100, "train")
    assert differences(now, before) == ["images: all, was 100", "epsilon: 0.3, was 0.2"]
    options = (("average", 0.99), ("lambda1", 20.0)), (("lambda1", 0.5),)
    purifiers = [DefenseTarget(LENET, "apeganpp", each, 3) for each in options]
    assert differences(*purifiers) == [
        "average: 0.99, was the default",
        "lambda1: 20.0, was 0.5",
    ]


def test_differences_of_the_examples_of_a_training_are_named():
    pairs = [(ExamplesTarget(LENET, f"fgsm:epsilon={each}", 9, "train"),) for each in (0.3, 0.2)]
    now, before = (DefenseTarget(LENET, "cgan", (), 3, 9, each) for each in pairs)
    assert differences(now, before) == ["examples epsilon: 0.3, was 0.2"]
