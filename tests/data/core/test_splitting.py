import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfdefense.data.core.splitting import (
    hold_out,
    order_by_hash,
    plan_splits,
    split_three_ways,
    split_two_ways,
)
from tfdefense.errors import UserError

# 3 to 40 images in each of 2 to 5 classes, in any order.
class_sizes = st.lists(st.integers(3, 40), min_size=2, max_size=5)
seeds = st.integers(0, 2**32)
fast = settings(max_examples=50, deadline=None)


def make_labels(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels)


def make_keys(count):
    return [f"class/{index}.png" for index in range(count)]


@fast
@given(class_sizes, seeds)
def test_splits_are_disjoint_complete_and_have_every_class(sizes, seed):
    labels = make_labels(sizes, seed)
    shuffled = order_by_hash(make_keys(len(labels)), seed)
    for split in (split_three_ways, split_two_ways):
        parts = split(labels, shuffled, "dir:x", [str(label) for label in range(len(sizes))])
        assert sorted(np.concatenate(parts)) == list(range(len(labels)))
        for part in parts:
            assert set(labels[part]) == set(range(len(sizes)))


@fast
@given(class_sizes, seeds)
def test_shares_of_each_class_are_10_percent(sizes, seed):
    labels = make_labels(sizes, seed)
    names = [str(label) for label in range(len(sizes))]
    shuffled = order_by_hash(make_keys(len(labels)), seed)
    _, validation, test = split_three_ways(labels, shuffled, "dir:x", names)
    for label, size in enumerate(sizes):
        for part in (validation, test):
            count = np.sum(labels[part] == label)
            assert count == 1 or abs(count - 0.1 * size) <= 1


@fast
@given(class_sizes, seeds)
def test_splits_are_a_function_of_keys_labels_and_seed(sizes, seed):
    labels = make_labels(sizes, seed)
    names = [str(label) for label in range(len(sizes))]
    keys = make_keys(len(labels))
    first, again = (
        split_three_ways(labels, order_by_hash(list(keys), seed), "dir:x", names) for _ in range(2)
    )
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=8), unique=True, max_size=20), st.text(max_size=8), seeds)
def test_a_new_key_does_not_change_the_order_of_the_others(keys, new, seed):
    keys = [key for key in keys if key != new]
    before = [keys[index] for index in order_by_hash(keys, seed)]
    every = [*keys, new]
    after = [every[index] for index in order_by_hash(every, seed) if every[index] != new]
    assert after == before


@fast
@given(st.lists(st.text(max_size=8), unique=True, max_size=40), seeds, st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_given_keys(keys, seed, random):
    mixed = random.sample(keys, len(keys))
    assert [keys[i] for i in order_by_hash(keys, seed)] == [
        mixed[i] for i in order_by_hash(mixed, seed)
    ]


@fast
@given(class_sizes, seeds, st.integers(0, 4))
def test_a_new_file_moves_at_most_one_other_file(sizes, seed, new_label):
    """Per class, held-out files are the first in the order: a new file can push out one of them."""
    labels = make_labels(sizes, seed)
    new_label %= len(sizes)
    keys = make_keys(len(labels))
    before = set(hold_out(labels, order_by_hash(keys, seed), 0.1)[1])
    more = order_by_hash([*keys, "class/new.png"], seed)
    after = set(hold_out(np.append(labels, new_label), more, 0.1)[1]) - {len(keys)}
    assert len(before ^ after) <= 1
    assert all(labels[index] == new_label for index in before ^ after)


def test_another_seed_gives_another_order():
    keys = make_keys(50)
    orders = {tuple(order_by_hash(keys, seed)) for seed in range(20)}
    assert len(orders) == 20


@fast
@given(class_sizes, seeds, st.integers(1, 200))
def test_the_maximum_limits_the_images_held_out(sizes, seed, maximum):
    labels = make_labels(sizes, seed)
    _, held = hold_out(labels, order_by_hash(make_keys(len(labels)), seed), 0.5, maximum)
    # At least one image per class, and rounding per class by at most a half.
    assert len(held) <= max(maximum, 0) + len(sizes)


def test_few_images_of_a_class_are_split_without_regard_to_classes(capsys):
    labels = np.arange(1000)
    shuffled = order_by_hash(make_keys(1000), 0)
    names = [str(label) for label in labels]
    train, validation, test = split_three_ways(labels, shuffled, "dir:one-each", names)
    assert (len(train), len(validation), len(test)) == (800, 100, 100)
    assert sorted(np.concatenate([train, validation, test])) == list(range(1000))
    printed = "1,000 of 1,000 classes have fewer than 3 images, so the splits are drawn from all"
    assert printed in capsys.readouterr().out
    with pytest.raises(UserError, match="dir:x: 2 images; at least 3 are needed"):
        split_three_ways(np.array([0, 1]), np.arange(2), "dir:x", ["cats", "dogs"])


def test_missing_test_images_are_drawn_from_training_images(capsys):
    labels = {"train": np.arange(40) % 2, "validation": np.arange(6) % 2}
    orders = {part: np.arange(len(each)) for part, each in labels.items()}
    planned = plan_splits(labels, orders, "dir:y", ["cats", "dogs"])
    assert {split: part for split, (part, _) in planned.items()} == {
        "train": "train",
        "validation": "validation",
        "test": "train",
    }
    assert (len(planned["train"][1]), len(planned["test"][1])) == (36, 4)
    assert set(planned["train"][1]).isdisjoint(planned["test"][1])
    assert "has no test images; 4 of the training images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["0", "1", "2"],
            "class '0' has 0 training images. Class numbers begin at 0, and leave none",
        ),
        (["a", "b", "c"], "class 'a' has 0 training images.$"),
    ],
)
def test_each_class_needs_training_images_if_all_parts_are_given(names, message):
    labels = {"train": np.array([1, 2, 1]), "validation": np.arange(3), "test": np.arange(3)}
    orders = {part: np.arange(3) for part in labels}
    with pytest.raises(UserError, match=message):
        plan_splits(labels, orders, "npz:x", names)


def test_the_error_names_a_class_without_images():
    labels = np.array([0, 0, 0, 1, 1])
    shuffled = np.arange(5)
    train, validation = split_two_ways(labels, shuffled, "dir:x", ["cats", "dogs"])
    assert (len(train), len(validation)) == (3, 2)
    with pytest.raises(UserError, match="class 'birds' has 0 images; at least 2 are needed"):
        split_two_ways(labels, shuffled, "dir:x", ["cats", "dogs", "birds"])
