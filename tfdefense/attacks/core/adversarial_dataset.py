"""Adversarial datasets: adversarial images of a split, stored on disk in shards.

`adversarial_dataset_maker` makes them.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfdefense.attacks.core.shard_verification import verify_perturbations
from tfdefense.attacks.core.shards import PER_IMAGE_NAMES, Shard
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray, empty_array
from tfdefense.errors import UserError, require
from tfdefense.training.run_directory import SHARDS, RunDirectory
from tfdefense.utils.batch_size import fitting_batch_size
from tfdefense.utils.hashing import hash_parts

CODE_SETTINGS = ("attack_code", "model_code", "tensorflow")
"""Names of the settings that identify the code which made the images."""

# Part of the hash in the names of directories. Settings of version 0.2.0 and before have no revisions
# of code; runs that trained on such datasets still find them by this hash.
_HASH_VERSION = "0.1.0"
_HASH_DIGITS = 12
_VERIFIED_AT_ONCE = 250


@dataclasses.dataclass(frozen=True)
class AdversarialDataset:
    """Adversarial images of the first n images of a split, read from their directory.

    Attributes:
      directory: the directory.
      settings: flag name -> value of everything that the images depend on.
      clean_fingerprint: fingerprint of the clean images and labels.
      adversarial: float32 [n, H, W, C] in [0, 1]; never rounded to 8 bits. A `DiskArray` if they do
        not fit into memory.
      success, success_8bit, clean_success: bool [n]; see `Shard`.
      targets, l0, l2, linf, queries, gradients, no_gradient, surrogate: as in `AttackResult`; see
        `Shard`.
      seconds: duration of the attack on all images.
    """

    directory: RunDirectory
    settings: dict[str, Any]
    clean_fingerprint: str
    adversarial: np.ndarray | DiskArray
    success: np.ndarray
    success_8bit: np.ndarray
    clean_success: np.ndarray
    targets: np.ndarray
    l0: np.ndarray
    l2: np.ndarray
    linf: np.ndarray
    queries: np.ndarray
    gradients: np.ndarray
    no_gradient: np.ndarray
    surrogate: np.ndarray
    seconds: float

    @property
    def name(self) -> str:
        """Name that identifies the dataset: the attack and a hash of all settings."""
        return f"{self.settings['attack']}-{settings_hash(self.settings, self.clean_fingerprint)}"

    def verify(self, split: Split) -> None:
        """Check that the images are perturbations of those of `split` within the attack's ball.

        Raises:
          UserError: they are not; the message names the directory.
        """
        radius, norm = self.settings.get("epsilon"), self.settings.get("norm", "linf")
        radius = radius if isinstance(radius, int | float) else None
        size = fitting_batch_size(split.image_shape, _VERIFIED_AT_ONCE)
        for rows in shard_rows(len(split), size):
            part = _StoredPart(
                *(each[rows] for each in (self.adversarial, self.l0, self.l2, self.linf))
            )
            try:
                verify_perturbations(part, np.asarray(split.images[rows]), radius, norm)
            except ValueError as error:
                raise UserError(
                    f"{self.directory}: images {rows.start:,} to {rows.stop - 1:,} fail verification"
                    f" ({error}). Make it again with bin/attack."
                ) from error


class _StoredPart(NamedTuple):
    """Part of a dataset, for `verify_perturbations`."""

    adversarial: np.ndarray
    l0: np.ndarray
    l2: np.ndarray
    linf: np.ndarray


def load_adversarial_dataset(directory: str | Path | RunDirectory) -> AdversarialDataset:
    """Read a finished adversarial dataset from its directory.

    Raises:
      UserError: the directory is not an adversarial dataset, it is not finished, or a shard is
        damaged.
    """
    if not isinstance(directory, RunDirectory):
        directory = RunDirectory(directory, "pairs")
    config = directory.require_kind("attack")
    count, batch_size = config.setting("images", int), config.setting("batch_size", int)
    require(
        batch_size >= 1, f"{config.file}: settings.batch_size is {batch_size}; at least 1 needed."
    )
    settings, data = dict(config.settings), config.metadata_value("data", str)
    adversarial: np.ndarray | DiskArray | None = None
    arrays: dict[str, list[np.ndarray]] = {name: [] for name in PER_IMAGE_NAMES}
    seconds = 0.0
    for rows in shard_rows(count, batch_size):
        path = shard_path(directory, rows)
        require(
            path.is_file(),
            f"{directory.path}: not finished (from image {rows.start:,} of {count:,} on). Run"
            " the same bin/attack command again to resume.",
        )
        image_shape = None if adversarial is None else adversarial.shape[1:]
        try:
            shard = Shard.load(path, rows.stop - rows.start, shard_key(settings, data, rows))
            if image_shape not in (None, shard.adversarial.shape[1:]):
                raise ValueError(f"images are {shard.adversarial.shape[1:]}, {image_shape} needed")
        except ValueError as error:
            raise UserError(
                f"{path}: {error}. Run the same bin/attack command again to make it again."
            ) from error
        if adversarial is None:
            adversarial = empty_array((count, *shard.adversarial.shape[1:]), np.float32)
        adversarial[rows] = shard.adversarial
        for name, parts in arrays.items():
            parts.append(getattr(shard, name))
        seconds += float(shard.seconds)
    if adversarial is None:
        raise UserError(f"{directory.path}: has no images.")
    per_image: dict[str, Any] = {name: np.concatenate(parts) for name, parts in arrays.items()}
    return AdversarialDataset(
        directory,
        settings,
        data,
        adversarial,
        **per_image,
        seconds=seconds,
    )


def shard_rows(count: int, batch_size: int) -> Iterator[slice]:
    """Yield the rows of each shard."""
    for start in range(0, count, batch_size):
        yield slice(start, min(start + batch_size, count))


def shard_path(directory: RunDirectory, rows: slice) -> Path:
    """Return the file of the shard with these rows."""
    return directory.path / SHARDS / f"{rows.start:08d}.npz"


def shard_key(settings: dict[str, Any], clean_fingerprint: str, rows: slice) -> str | None:
    """Return the key of a shard; None for a dataset of version 0.2.0, which has no checksums."""
    if CODE_SETTINGS[0] not in settings:
        return None
    return f"{settings_hash(settings, clean_fingerprint)} {rows.start}"


def settings_hash(settings: dict[str, Any], clean_fingerprint: str) -> str:
    """Return the hash that the name of a dataset ends in, 12 hexadecimal digits."""
    parts = [settings, clean_fingerprint, _HASH_VERSION]
    return hash_parts([json.dumps(parts, sort_keys=True).encode()])[:_HASH_DIGITS]
