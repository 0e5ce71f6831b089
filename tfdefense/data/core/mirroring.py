"""Datasets by whether a mirrored image has the same class: a fact about the data."""

import re

from tfdefense.errors import require

# A mirrored 2 is no digit, and a mirrored "keep left" is "keep right".
_DIFFERENT = frozenset(
    {
        "binary_alpha_digits",
        "digits",
        "emnist",
        "gtsrb",
        "kmnist",
        "mnist",
        "mnist_corrupted",
        "omniglot",
        "svhn_cropped",
    }
)
_SAME = frozenset(
    {
        "beans",
        "caltech101",
        "cats_vs_dogs",
        "cifar10",
        "cifar100",
        "cifar10_1",
        "cifar10_corrupted",
        "eurosat",
        "fashion_mnist",
        "food101",
        "imagenet2012",
        "imagenet_resized",
        "imagenet_v2",
        "imagenette",
        "imagewang",
        "oxford_flowers102",
        "oxford_iiit_pet",
        "stl10",
        "tf_flowers",
    }
)


def keeps_class_mirrored(source: str) -> bool | None:
    """Return whether mirrored images keep their class; None for unknown data.

    Args:
      source: a value of `--dataset` or a name of a dataset, such as "cifar10", "emnist/letters",
        "emnist-letters" or "dir:signs".
    """
    name = re.split(r"[/:-]", source)[0]
    if name in _DIFFERENT:
        return False
    return True if name in _SAME else None


def require_mirrorable(source: str, name: str | None = None) -> None:
    """Raise `UserError` if mirrored images of a dataset are known to have another class.

    Args:
      source: see `keeps_class_mirrored`.
      name: name of the dataset in the message; None for `source`.
    """
    require(
        keeps_class_mirrored(source) is not False,
        f"--mirror: a mirrored image of {name or source} has another class. Leave it out.",
    )
