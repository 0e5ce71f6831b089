"""Maker of adversarial datasets: each image of a split is attacked once and stored on disk."""

import dataclasses
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from tfdefense.attacks.core.adversarial_dataset import (
    CODE_SETTINGS,
    AdversarialDataset,
    load_adversarial_dataset,
    settings_hash,
    shard_key,
    shard_path,
    shard_rows,
)
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.each_surrogate import surrogate_names
from tfdefense.attacks.core.hyperparameters import hyperparameter_values
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.shard_verification import ShardVerifier
from tfdefense.attacks.core.shards import Shard, ShardMaker
from tfdefense.classifiers.core.fingerprint import (
    Identifiable,
    model_code_revision,
    model_fingerprint,
)
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.errors import require
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import SHARDS, RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils import cluster
from tfdefense.utils.batch_size import fitting_batch_size
from tfdefense.utils.progress import ProgressBar, print_line

_BATCH_SIZE = 250


class NamedModel(Identifiable, Model, Protocol):
    """Model with a name and a fingerprint."""


@dataclasses.dataclass(frozen=True)
class AdversarialStorage:
    """Place and shard size of an adversarial dataset.

    Attributes:
      split_name: name of the split, stored with the settings and part of the default directory.
      batch_size: number of images in a batch and in a shard, at least 1; None means 250, or fewer
        for large images.
      output: the directory. None means
        `<runs_dir>/attacks/<dataset>-<split_name>-<model>-<attack>-<hash>`.
      runs_dir: parent of the default directory.

    Raises:
      UserError: `batch_size` is out of range.
    """

    split_name: str = "test"
    batch_size: int | None = None
    output: str | Path | None = None
    runs_dir: str | Path = "runs"

    def __post_init__(self) -> None:
        require(
            self.batch_size is None or self.batch_size >= 1,
            f"--batch_size={self.batch_size}: at least 1 needed.",
        )

    def shard_size(self, image_shape: tuple[int, ...]) -> int:
        """Return the number of images in a shard, for images of shape (H, W, C)."""
        return self.batch_size or fitting_batch_size(image_shape, _BATCH_SIZE)


def make_adversarial_dataset(
    model: NamedModel,
    split: Split,
    attack: Attack,
    storage: AdversarialStorage = AdversarialStorage(),
) -> AdversarialDataset:
    """Attack all images of `split`, one shard per batch; shards on disk are not made again.

    The name of the default directory ends in a hash of the model's weights, the attack's
    hyperparameters, the images, the code of attack and model, and TensorFlow's version. A second
    call with the same arguments therefore finds the finished dataset. Shards on disk are verified:
    one that fails is made again, and a line says why.

    Several workers share the shards among them.

    Args:
      model: classifier or defended pipeline, made of Keras models.
      split: clean images and their true labels.
      attack: the attack.
      storage: place and shard size.

    Raises:
      UserError: the directory has other settings or is of other code, or the model is not made of
        Keras models.
    """
    settings, fingerprint = _settings(model, split, attack, storage), data_fingerprint(split)
    directory = _directory(storage, settings, fingerprint)
    config = StoredConfig("attack", settings, {"data": fingerprint})
    _require_same_code(directory, config)
    directory.create_or_reuse(config)
    (directory.path / SHARDS).mkdir(exist_ok=True)
    # Each of W workers makes every W-th shard. It reads the others only when all are finished.
    rows = list(shard_rows(len(split), settings["batch_size"]))
    rows = rows[cluster.worker_index() :: cluster.worker_count()]
    radius, norm = getattr(attack, "epsilon", None), getattr(attack, "norm", "linf")
    verifier = ShardVerifier(model, radius, norm, split.image_shape)
    keys = [shard_key(settings, fingerprint, each) for each in rows]
    missing = [
        (each, key)
        for each, key in zip(rows, keys, strict=True)
        if not _is_valid(shard_path(directory, each), split.select(each), key, verifier)
    ]
    if missing:
        print_line(f"Crafting into {directory.path}")
        share = -(-len(split) // cluster.worker_count())  # Only the chief shows its progress.
        done = share - sum(each.stop - each.start for each, _ in missing)
        maker = ShardMaker(model, attack, split.image_shape)
        with ProgressBar(f"{attack.name} on {model.name}", share, done) as progress:
            for each, key in missing:
                maker.make(split.select(each)).save(shard_path(directory, each), key)
                progress.advance(each.stop - each.start)
    else:
        print_line(f"Found in {directory.path}")
    multi_worker.wait_for_workers()
    return load_adversarial_dataset(directory)


def count_missing_images(
    model: NamedModel, split: Split, attack: Attack, storage: AdversarialStorage
) -> int:
    """Return how many images `make_adversarial_dataset` would attack if no shard on disk is damaged."""
    directory = adversarial_directory(model, split, attack, storage)
    rows = shard_rows(len(split), storage.shard_size(split.image_shape))
    return sum(each.stop - each.start for each in rows if not shard_path(directory, each).is_file())


def adversarial_directory(
    model: NamedModel, split: Split, attack: Attack, storage: AdversarialStorage
) -> RunDirectory:
    """Return the directory of `make_adversarial_dataset` with these arguments."""
    settings = _settings(model, split, attack, storage)
    return _directory(storage, settings, data_fingerprint(split))


def _settings(
    model: NamedModel, split: Split, attack: Attack, storage: AdversarialStorage
) -> dict[str, Any]:
    """Return all that the images of an adversarial dataset depend on, except the clean images."""
    settings: dict[str, Any] = {
        "attack": attack.name,
        **hyperparameter_values(attack),
        "dataset": split.dataset,
        "split": storage.split_name,
        "images": len(split),
        "classifier": model.name,
        "batch_size": storage.shard_size(split.image_shape),
        "weights": model_fingerprint(model),
        "attack_code": attack.revision,
        "model_code": model_code_revision(model),
        "tensorflow": tf.__version__,
    }
    surrogates = surrogate_names(attack, model, split.image_shape)
    return settings | ({"surrogates": list(surrogates)} if surrogates else {})


def _directory(
    storage: AdversarialStorage, settings: dict[str, Any], clean_fingerprint: str
) -> RunDirectory:
    if storage.output is not None:
        return RunDirectory(storage.output, "output")
    parts = [settings[name] for name in ("dataset", "split", "classifier", "attack")]
    name = "-".join([*parts, settings_hash(settings, clean_fingerprint)]).replace(":", "_")
    return RunDirectory(Path(storage.runs_dir) / "attacks" / name, "output")


def _is_valid(path: Path, part: Split, key: str | None, verifier: ShardVerifier) -> bool:
    """Return whether a shard can be used; print a line if there is one that cannot."""
    if not path.is_file():
        return False
    try:
        verifier.verify(Shard.load(path, len(part), key), part)
    except ValueError as error:
        print_line(f"{path}: {error}; it is made again.")
        return False
    return True


def _require_same_code(directory: RunDirectory, config: StoredConfig) -> None:
    """Raise `UserError` if an existing directory differs only in the code that made its images."""
    if not directory.exists():
        return
    stored = directory.read_config()
    code = stored.differences(config, CODE_SETTINGS)
    require(
        not code or stored.differences(config) != code,
        f"{directory}: its images were made by other code: {', '.join(code)}. Choose another"
        f" --{directory.flag}, or delete the directory.",
    )
