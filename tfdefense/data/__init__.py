"""Sources of labelled images and their splits.

A new source is one file in this folder and one line in `registry.py`.
"""

from tfdefense.data.core.dataset import DataOptions, Dataset, Split
from tfdefense.data.registry import SOURCES
from tfdefense.errors import require
from tfdefense.utils.registry import Registry

_FILE_SOURCES = ("dir", "csv")
_TFDS = "tfdefense.data.tfds_source:load_tfds"


def load(
    name: str,
    data_dir: str | None = None,
    image_size: tuple[int, int] | None = None,
    split_seed: int = 0,
    *,
    skip_corrupt: bool = False,
) -> Dataset:
    """Load a dataset by name: a registered source, or else a TFDS image-classification dataset.

    Args:
      name: "digits" (embedded), "dir:PATH", "csv:FILE", "npz:FILE", or a TFDS name such as "mnist" or "cifar10".
      data_dir: see `DataOptions`.
      image_size: see `DataOptions`.
      split_seed: see `DataOptions`.
      skip_corrupt: see `DataOptions`.

    Raises:
      UserError: see `DataOptions` and the function of the source.
    """
    return load_with_options(name, DataOptions(data_dir, image_size, split_seed, skip_corrupt))


def load_with_options(name: str, options: DataOptions) -> Dataset:
    """Load a dataset by name as `load` does; name and errors as there."""
    kind, colon, argument = name.partition(":")
    require(
        not options.skip_corrupt or kind in _FILE_SOURCES,
        f"--skip_corrupt: --dataset={name} has no image files; only dir:PATH and csv:FILE have.",
    )
    for entry in SOURCES.entries:
        if entry.partition(":")[0] == kind and (":" in entry or not colon):
            require(
                ":" not in entry or bool(argument),
                f"--dataset={name}: has no path. Give --dataset={entry}.",
            )
            return SOURCES.get(entry)(name, options)
    return Registry("dataset", {**SOURCES.entries, name: _TFDS}).get(name)(name, options)


__all__ = ["SOURCES", "DataOptions", "Dataset", "Split", "load", "load_with_options"]
