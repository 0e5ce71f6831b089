"""Adversarial datasets: adversarial images of a split, made once and stored on disk in shards."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.hyperparameters import hyperparameter_values
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.shards import PER_IMAGE_NAMES, Shard, ShardMaker, load_shard
from tfdefense.classifiers.core.fingerprint import Identifiable, model_fingerprint
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray, empty_array
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.errors import UserError, require
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils import cluster
from tfdefense.utils.hashing import hash_parts
from tfdefense.utils.progress import ProgressBar, print_line

# Version whose attacks first made the images that today's attacks make. It is part of names on disk:
# raise it when an attack makes other images, and only then.
_ATTACKS_VERSION = "0.1.0"
_HASH_DIGITS = 12


class NamedModel(Identifiable, Model, Protocol):
    """Model with a name and a fingerprint."""


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
      l0, l2, linf, queries, gradients, no_gradient: as in `AttackResult`.
      seconds: duration of the attack on all images.
    """

    directory: RunDirectory
    settings: dict[str, Any]
    clean_fingerprint: str
    adversarial: np.ndarray | DiskArray
    success: np.ndarray
    success_8bit: np.ndarray
    clean_success: np.ndarray
    l0: np.ndarray
    l2: np.ndarray
    linf: np.ndarray
    queries: np.ndarray
    gradients: np.ndarray
    no_gradient: np.ndarray
    seconds: float

    @property
    def name(self) -> str:
        """Name that identifies the dataset: the attack and a hash of all settings."""
        return f"{self.settings['attack']}-{_settings_hash(self.settings, self.clean_fingerprint)}"


@dataclasses.dataclass(frozen=True)
class AdversarialStorage:
    """Place and shard size of an adversarial dataset.

    Attributes:
      split_name: name of the split, stored with the settings and part of the default directory.
      batch_size: number of images in a batch and in a shard, at least 1.
      output: the directory. None means
        `<runs_dir>/attacks/<dataset>-<split_name>-<model>-<attack>-<hash>`.
      runs_dir: parent of the default directory.

    Raises:
      UserError: `batch_size` is out of range.
    """

    split_name: str = "test"
    batch_size: int = 250
    output: str | Path | None = None
    runs_dir: str | Path = "runs"

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"--batch_size={self.batch_size}: at least 1 needed.")


def make_adversarial_dataset(
    model: NamedModel,
    split: Split,
    attack: Attack,
    storage: AdversarialStorage = AdversarialStorage(),
) -> AdversarialDataset:
    """Attack all images of `split`, one shard per batch; shards on disk are not made again.

    The name of the default directory ends in a hash of the model's weights, the attack's
    hyperparameters and the images. A second call with the same arguments therefore finds the
    finished dataset.

    Several workers share the shards among them.

    Args:
      model: classifier or defended pipeline, made of Keras models.
      split: clean images and their true labels.
      attack: the attack.
      storage: place and shard size.

    Raises:
      UserError: the directory has other settings, or the model is not made of Keras models.
    """
    fingerprint = data_fingerprint(split)
    settings = {
        "attack": attack.name,
        **hyperparameter_values(attack),
        "dataset": split.dataset,
        "split": storage.split_name,
        "images": len(split),
        "classifier": model.name,
        "batch_size": storage.batch_size,
        "weights": model_fingerprint(model),
    }
    directory = _directory(storage, settings, fingerprint)
    directory.create_or_reuse(StoredConfig("attack", settings, {"data": fingerprint}))
    (directory.path / "shards").mkdir(exist_ok=True)
    # Each of W workers makes every W-th shard. It reads the others only when all are finished.
    rows = list(_shard_rows(len(split), storage.batch_size))
    rows = rows[cluster.worker_index() :: cluster.worker_count()]
    missing = [each for each in rows if _load_rows(directory, each) is None]
    if missing:
        print_line(f"Crafting into {directory.path}")
        share = -(-len(split) // cluster.worker_count())  # Only the chief shows its progress.
        done = share - sum(each.stop - each.start for each in missing)
        maker = ShardMaker(model, attack, split.image_shape)
        with ProgressBar(f"{attack.name} on {model.name}", share, done) as progress:
            for each in missing:
                maker.make(split.select(each)).save(_shard_path(directory, each))
                progress.advance(each.stop - each.start)
    else:
        print_line(f"Found in {directory.path}")
    multi_worker.wait_for_workers()
    return load_adversarial_dataset(directory)


def load_adversarial_dataset(directory: str | Path | RunDirectory) -> AdversarialDataset:
    """Read a finished adversarial dataset from its directory.

    Raises:
      UserError: the directory is not an adversarial dataset, or it is not finished.
    """
    if not isinstance(directory, RunDirectory):
        directory = RunDirectory(directory, "pairs")
    config = directory.require_kind("attack")
    count, batch_size = config.setting("images", int), config.setting("batch_size", int)
    adversarial: np.ndarray | DiskArray | None = None
    arrays: dict[str, list[np.ndarray]] = {name: [] for name in PER_IMAGE_NAMES}
    seconds = 0.0
    for rows in _shard_rows(count, batch_size):
        shard = _load_rows(directory, rows)
        if shard is None:
            raise UserError(
                f"{directory.path}: not finished (from image {rows.start:,} of {count:,} on). Run"
                " the same bin/attack command again to resume."
            )
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
        dict(config.settings),
        config.metadata_value("data", str),
        adversarial,
        **per_image,
        seconds=seconds,
    )


def _directory(
    storage: AdversarialStorage, settings: dict[str, Any], clean_fingerprint: str
) -> RunDirectory:
    if storage.output is not None:
        return RunDirectory(storage.output, "output")
    parts = [settings[name] for name in ("dataset", "split", "classifier", "attack")]
    name = "-".join([*parts, _settings_hash(settings, clean_fingerprint)])
    return RunDirectory(Path(storage.runs_dir) / "attacks" / name, "output")


def _shard_rows(count: int, batch_size: int) -> Iterator[slice]:
    """Yield the rows of each shard."""
    for start in range(0, count, batch_size):
        yield slice(start, min(start + batch_size, count))


def _shard_path(directory: RunDirectory, rows: slice) -> Path:
    return directory.path / "shards" / f"{rows.start:08d}.npz"


def _load_rows(directory: RunDirectory, rows: slice) -> Shard | None:
    return load_shard(_shard_path(directory, rows), rows.stop - rows.start)


def _settings_hash(settings: dict[str, Any], clean_fingerprint: str) -> str:
    parts = [settings, clean_fingerprint, _ATTACKS_VERSION]
    return hash_parts([json.dumps(parts, sort_keys=True).encode()])[:_HASH_DIGITS]
