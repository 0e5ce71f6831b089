import pytest

from tfdefense.data.core.split_names import name_splits, split_of_name, strip_common_prefix


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "Training", "TRAIN_SET", "train-data", "Trainset")),
        *((name, "test") for name in ("test", "Testing", "test_images", "TestSet", "tests")),
        *((name, "test") for name in ("evaluation", "Eval", "hold-out", "holdout_images")),
        *((name, "validation") for name in ("val", "Valid", "VALIDATION", "val set", "dev")),
        ("validate", "validation"),
        *((name, None) for name in ("trains", "contest", "cat", "", "seg_train", "モデル")),
    ],
)
def test_names_of_splits(name, split):
    assert split_of_name(name) == split


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("train", "eval"), "test"),
        (("train", "val", "eval"), "test"),
        (("train", "test", "eval"), "validation"),
        (("train", "val", "test", "eval"), None),
    ],
)
def test_evaluation_images_are_the_ones_that_no_other_name_is_for(names, split):
    splits = name_splits(names)
    assert splits.get("eval") == split
    assert splits["train"] == "train"
    assert splits.get("val", "validation") == "validation"


def test_a_prefix_is_stripped_only_from_names_of_splits():
    assert strip_common_prefix(["seg_train", "seg_test", "seg_pred", "bus"]) == {
        "seg_train": "train",
        "seg_test": "test",
        "seg_pred": "pred",
    }
    for names in (["bullet_train", "slow_test"], ["a_train", "a_bus"], ["a_val", "a_test"]):
        assert strip_common_prefix(names) == {}
