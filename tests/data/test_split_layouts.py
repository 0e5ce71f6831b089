"""Folders of splits as published datasets have them."""

import shutil

import pytest

import tfdefense
from tests.data.test_image_folder import save, values
from tests.data.test_own_folders import fill
from tfdefense.data.core.split_folders import find_split_folders
from tfdefense.errors import UserError
from tfdefense.utils import progress


@pytest.fixture(autouse=True)
def nothing_printed(monkeypatch):
    monkeypatch.setattr(progress, "_printed", set())


def save_flat(folder, count=3):
    for number in range(count):
        save(folder / f"{number}.png", 200 + number)


def test_names_with_a_common_beginning_are_splits(tmp_path, capsys):
    """The layout of "Intel Image Classification" on Kaggle."""
    fill(tmp_path / "seg_train" / "seg_train")
    fill(tmp_path / "seg_test" / "seg_test", count=2, start=100)
    save_flat(tmp_path / "seg_pred" / "seg_pred")
    data = tfdefense.data.load(f"dir:{tmp_path}")
    assert data.class_names == ("a", "b")
    assert values(data.test) == {100, 101, 120, 121}
    assert len(data.train) + len(data.validation) == 20
    assert "in no class): seg_pred/" in capsys.readouterr().out


def test_training_images_with_test_images_without_classes_are_refused(tmp_path):
    """The layout of "ASL Alphabet" on Kaggle."""
    train = tmp_path / "asl_alphabet_train" / "asl_alphabet_train"
    fill(train, count=1)
    save_flat(tmp_path / "asl_alphabet_test" / "asl_alphabet_test")
    with pytest.raises(UserError, match=rf"no folder test .*--dataset=dir:{train}$"):
        find_split_folders(tmp_path, "dir:x")


@pytest.mark.parametrize("place", ["test", "test/test", "test/TEST"])
def test_test_images_without_classes_are_left_out(tmp_path, place):
    fill(tmp_path / "train", count=1)
    fill(tmp_path / "validation", count=1)
    save_flat(tmp_path / place)
    found = find_split_folders(tmp_path, "dir:x")
    assert found == {"train": tmp_path / "train", "validation": tmp_path / "validation"}


def test_evaluation_images_are_test_images(tmp_path):
    """The layout of Food-11."""
    for part in ("training", "validation", "evaluation"):
        fill(tmp_path / part, count=1)
    found = find_split_folders(tmp_path, "dir:x")
    assert found["test"] == tmp_path / "evaluation"


def test_a_stray_image_does_not_make_splits_classes(tmp_path):
    for part in ("train", "test"):
        fill(tmp_path / part, count=1)
        save(tmp_path / part / "sample.png", 5)
    assert find_split_folders(tmp_path, "dir:x").keys() == {"train", "test"}


@pytest.mark.parametrize(
    "parts", [("train", "test1"), ("x_train", "x_test"), ("Train/Train", "val")]
)
def test_splits_without_classes_are_refused(tmp_path, parts):
    for part in parts:
        save_flat(tmp_path / part)
    with pytest.raises(UserError, match=r"look like splits and not like classes.*csv:FILE"):
        find_split_folders(tmp_path, "dir:x")


@pytest.mark.parametrize("copy", ["Village", "Village/village"])
@pytest.mark.parametrize("part", ["", "train"])
def test_a_copy_of_all_classes_inside_them_is_refused(tmp_path, part, copy):
    """The layout of "PlantVillage" on Kaggle."""
    fill(tmp_path / part, count=1)
    shutil.copytree(tmp_path / part / "a", tmp_path / part / copy / "a")
    shutil.copytree(tmp_path / part / "b", tmp_path / part / copy / "b")
    if part:
        fill(tmp_path / "test", count=1)
    message = (
        r"Village holds folders .* too \(a, b\).*copy.*or give it alone: --dataset=dir:.*Village"
    )
    with pytest.raises(UserError, match=message):
        find_split_folders(tmp_path, "dir:x")


def test_two_folders_with_the_same_classes_are_refused_at_any_depth(tmp_path):
    fill(tmp_path / "Village", count=1)
    fill(tmp_path / "village 2" / "village 2", count=1)
    with pytest.raises(UserError, match=r"Village, village 2 hold the same folders \(a, b\)"):
        find_split_folders(tmp_path, "dir:x")


def test_classes_with_folders_inside_are_classes(tmp_path):
    fill(tmp_path / "cats", ("old", "young"), count=1)
    fill(tmp_path / "dogs", ("big", "small"), count=1)
    save_flat(tmp_path / "train" / "train")
    assert find_split_folders(tmp_path, "dir:x") == {"all": tmp_path}


def test_test_images_in_a_folder_that_is_no_class_are_refused_with_a_hint(tmp_path):
    fill(tmp_path / "train", count=1)
    save_flat(tmp_path / "test" / "unknown")
    with pytest.raises(UserError, match=r"has the class 'unknown'.*have no classes, move it"):
        tfdefense.data.load(f"dir:{tmp_path}")


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (("part1", "abc"), ("part2", "ab"), r"part1, part2 hold the same folders \(a, b\)"),
        (("part1", "abc"), ("part2", "abd"), r"part1, part2 hold the same folders \(a, b\)"),
        (("val", "ab"), ("test", "cd"), "test, val look like splits and not like classes"),
    ],
)
def test_splits_whose_classes_differ_are_not_classes(tmp_path, one, other, message):
    for part, classes in (one, other):
        fill(tmp_path / part, classes, count=1)
    with pytest.raises(UserError, match=message):
        find_split_folders(tmp_path, "dir:x")
