"""Where labelled images come from. A new source is one file here and one line in `SOURCES`."""

from tfdefense.data.dataset import Dataset, Split
from tfdefense.registry import Registry

SOURCES = Registry(
    "dataset",
    {
        "digits": "tfdefense.data.digits:load",
    },
)
_TFDS = "tfdefense.data.tfds_source:load"


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Loads a dataset by name: a registered source, or else any TFDS image-classification dataset.

    Args:
      name: "digits" (embedded), or a TFDS name such as "mnist" or "cifar10".
      data_dir: where TFDS finds prepared datasets (default: `TFDS_DATA_DIR`, then TFDS's own).

    Raises:
      UserError: see the source's own `load`.
    """
    if name in SOURCES.entries:
        return SOURCES.get(name)(name, data_dir)
    return Registry("dataset", {**SOURCES.entries, name: _TFDS}).get(name)(name, data_dir)


__all__ = ["SOURCES", "Dataset", "Split", "load"]
