"""Where labelled images come from. A new source is one file here and one line in `SOURCES`."""

from tfdefense.data.core.dataset import DataOptions, Dataset, Split
from tfdefense.data.registry import SOURCES
from tfdefense.errors import require
from tfdefense.utils.registry import Registry

_TFDS = "tfdefense.data.tfds_source:load"


def load(
    name: str,
    data_dir: str | None = None,
    image_size: tuple[int, int] | None = None,
    split_seed: int = 0,
) -> Dataset:
    """Loads a dataset by name: a registered source, or else any TFDS image-classification dataset.

    Args:
      name: "digits" (embedded), "dir:PATH", "npz:FILE", or a TFDS name such as "mnist" or "cifar10".
      data_dir, image_size, split_seed: see `DataOptions`.

    Raises:
      UserError: see `DataOptions` and the source's own `load`.
    """
    options = DataOptions(data_dir, image_size, split_seed)
    kind, colon, argument = name.partition(":")
    for entry in SOURCES.entries:
        if entry.partition(":")[0] == kind and (":" in entry or not colon):
            require(
                ":" not in entry or bool(argument), f"--dataset={name}: a path needed, {entry}."
            )
            return SOURCES.get(entry)(name, options)
    return Registry("dataset", {**SOURCES.entries, name: _TFDS}).get(name)(name, options)


__all__ = ["SOURCES", "DataOptions", "Dataset", "Split", "load"]
