"""Names of splits, as folders and the column `split` of tables have them: `Training`, `val`, `test_set`."""

import re
from collections.abc import Iterable, Mapping, Sequence

_SPLIT_WORDS = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "validate", "val", "valid", "dev"),
    "test": ("test", "tests", "testing", "tst"),
}
# The test images, or the validation images of a dataset that names other images test images.
_HELD_OUT_WORDS = ("evaluation", "eval", "holdout")
# Words that say nothing: "test_set", "TrainImages", "val-data".
_FILLERS = re.compile(r"[^a-z]|(data)?set|data|images?|imgs?|split|folder")
_PREFIXED = re.compile(r"(.*[^a-zA-Z0-9])([a-zA-Z]+)")


def split_of_name(name: str) -> str | None:
    """Return "train", "validation" or "test" for names such as `Training` and `test_set`, or None."""
    return _resolve(_FILLERS.sub("", name.lower()), "test")


def name_splits(names: Iterable[str]) -> dict[str, str]:
    """Return name -> "train", "validation" or "test", for those of `names` that name a split.

    `eval`, `evaluation` and `holdout` are the test images; if another name is that of the test
    images, they are the validation images; if both are named, they are no split.
    """
    words = {name: _FILLERS.sub("", name.lower()) for name in names}
    named = {_resolve(word, None) for word in words.values()}
    held_out = next((split for split in ("test", "validation") if split not in named), None)
    resolved = {name: _resolve(word, held_out) for name, word in words.items()}
    return {name: split for name, split in resolved.items() if split is not None}


def strip_common_prefix(names: Sequence[str]) -> Mapping[str, str]:
    """Return name -> last word, of names such as `seg_train` and `seg_test`.

    They are the names that begin alike, if one of them ends with a word for training images and
    another one with a word for validation or test images. Of all other names there are none.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _PREFIXED.fullmatch(name):
            groups.setdefault(match[1], {})[name] = match[2]
    stripped: dict[str, str] = {}
    for group in groups.values():
        found = set(name_splits(group.values()).values())
        if "train" in found and len(found) > 1:
            stripped |= group
    return stripped


def _resolve(word: str, held_out: str | None) -> str | None:
    if word in _HELD_OUT_WORDS:
        return held_out
    return next((split for split, words in _SPLIT_WORDS.items() if word in words), None)
