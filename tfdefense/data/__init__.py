"""Where labelled images come from. A new source is one file here and one line in `SOURCES`."""

from tfdefense.data.dataset import DataOptions, Dataset, Split
from tfdefense.errors import require
from tfdefense.registry import Registry

SOURCES = Registry(
    "dataset",
    {
        "digits": "tfdefense.data.digits:load",
        "dir": "tfdefense.data.image_folder:load",
        "npz": "tfdefense.data.npz_file:load",
    },
)
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
    source, colon, argument = name.partition(":")
    if source not in SOURCES.entries or (colon and source == "digits"):
        return Registry("dataset", {**SOURCES.entries, name: _TFDS}).get(name)(name, options)
    takes_path = source != "digits"
    require(
        bool(argument) or not takes_path,
        f"--dataset={name}: a path needed, --dataset={source}:PATH.",
    )
    return SOURCES.get(source)(name, options)


__all__ = ["SOURCES", "DataOptions", "Dataset", "Split", "load"]
