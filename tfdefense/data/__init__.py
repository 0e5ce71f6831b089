"""Sources of labelled images and their splits.

A new source is one file in this folder and one line in `registry.py`.
"""

from tfdefense.data.core.dataset import DataOptions, Dataset, Split
from tfdefense.data.core.tfds_names import require_tfds_name
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

    `load_with_options` takes all options, such as `channels`.

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
    require(
        not options.skip_corrupt or name.partition(":")[0] in _FILE_SOURCES,
        f"--skip_corrupt: --dataset={name} has no image files; only dir:PATH and csv:FILE have.",
    )
    source = _find_source(name)
    if source is not None:
        return SOURCES.get(source)(name, options)
    return Registry("dataset", {name: _TFDS}).get(name)(name, options)


def check_name(name: str, data_dir: str | None = None) -> None:
    """Check the name of a dataset without an import of TensorFlow, and without reading images.

    Args:
      name: as for `load`.
      data_dir: see `DataOptions`.

    Raises:
      UserError: an unknown name, or no such directory of prepared datasets.
    """
    if _find_source(name) is None:
        require_tfds_name(name, data_dir)


def find_path_form(name: str) -> str | None:
    """Return the form of a dataset's name that holds a path, such as "dir:PATH"; None for others."""
    source = _find_source(name)
    return source if source and ":" in source else None


def _find_source(name: str) -> str | None:
    """Return the registered source of a dataset; None for one of TFDS.

    Raises:
      UserError: a source of files without a path.
    """
    kind, colon, argument = name.partition(":")
    for entry in SOURCES.entries:
        if entry.partition(":")[0] == kind and (":" in entry or not colon):
            require(
                ":" not in entry or bool(argument),
                f"--dataset={name}: has no path. Give --dataset={entry}.",
            )
            return entry
    return None


__all__ = [
    "SOURCES",
    "DataOptions",
    "Dataset",
    "Split",
    "check_name",
    "load",
    "load_with_options",
]
