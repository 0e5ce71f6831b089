"""Adversarial examples on disk: made once, in shards, and found again by what they were made from."""

import dataclasses
import json
import time
import zipfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

import tfdefense
from tfdefense.attacks.core.attack import Attack
from tfdefense.classifiers.core.fingerprint import Identifiable, model_fingerprint
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray, empty
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.errors import require
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils import cluster
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.hashing import hash_parts
from tfdefense.utils.progress import ProgressBar, print_line

_SHARD = (
    "adversarial",
    "success",
    "success_8bit",
    "clean_success",
    "l0",
    "l2",
    "linf",
    "queries",
    "gradients",
    "no_gradient",
    "seconds",
)


@dataclasses.dataclass(frozen=True)
class AdversarialDataset:
    """What an attack made of the first n images of a split, read from its directory.

    Attributes:
      run: the directory.
      settings: what they were made from, by flag name.
      data: fingerprint of the clean images and labels.
      adversarial: float32 [n, H, W, C] in [0, 1]; never rounded to 8 bits. A `DiskArray` where they are too many
        for memory.
      success, success_8bit, clean_success: bool [n]; whether the adversarial image fools, whether it
        still does when rounded to 8 bits, and whether the clean one did.
      l0, l2, linf, queries, gradients, no_gradient: as in `AttackResult`.
      seconds: that crafting took, in all.
    """

    run: RunDirectory
    settings: dict[str, Any]
    data: str
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
        """What tells these examples from all others: the attack and a hash of what it was given."""
        return f"{self.settings['attack']}-{_key(self.settings, self.data)[:12]}"


class NamedModel(Identifiable, Protocol):
    """Model that an attack attacks and whose results are told from those of another."""

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K] of images float32 [N, H, W, C] in [0, 1]."""
        ...


def craft(
    model: NamedModel,
    split: Split,
    attack: Attack,
    part: str = "test",
    batch_size: int = 250,
    output: str | Path | None = None,
    runs_dir: str | Path = "runs",
) -> AdversarialDataset:
    """Attacks all images of `split`, a shard for each batch; what is there already is not made again.

    Several workers share the shards among them.

    The directory's name ends in a hash of the model's weights, the attack's hyperparameters and the
    images, so a second call with the same of each finds it, and one with any other does not.

    Args:
      model: a classifier or a whole defended pipeline, of Keras models.
      split: the images, and their true labels.
      attack: what to do to them.
      part: the name of the split, for the directory.
      batch_size: images in a batch and in a shard.
      output: the directory; None means `<runs_dir>/attacks/<dataset>-<part>-<model>-<attack>-<hash>`.
      runs_dir: where that lies.

    Raises:
      UserError: a number out of range, a directory of something else, a model that is not Keras'.
    """
    require(batch_size >= 1, f"--batch_size={batch_size}: at least 1 needed.")
    data = data_fingerprint(split)
    settings = {
        "attack": attack.name,
        **hyperparameter_values(attack),
        "dataset": split.dataset,
        "split": part,
        "images": len(split),
        "classifier": model.name,
        "batch_size": batch_size,
        "weights": model_fingerprint(model),
    }
    if output is None:
        key = _key(settings, data)
        name = f"{split.dataset}-{part}-{model.name}-{attack.name}-{key[:12]}"
        output = Path(runs_dir) / "attacks" / name
    run = RunDirectory(output, "output")
    run.create_or_reuse(StoredConfig("attack", settings, {"data": data}))
    (run.path / "shards").mkdir(exist_ok=True)
    # Each worker makes every so many'th shard, and looks at no other before all are there.
    starts = range(0, len(split), batch_size)[cluster.worker_index() :: cluster.worker_count()]
    missing = [start for start in starts if _read(run, start, split, batch_size) is None]
    if missing:
        print_line(f"Crafting into {run.path}")
        _fill(run, model, split, attack, batch_size, missing)
    else:
        print_line(f"Found in {run.path}")
    multi_worker.wait_for_workers()
    return load_adversarial_dataset(run)


def load_adversarial_dataset(run: str | Path | RunDirectory) -> AdversarialDataset:
    """Reads what `craft` wrote.

    Raises:
      UserError: no directory of adversarial examples, or one whose crafting was not finished.
    """
    run = run if isinstance(run, RunDirectory) else RunDirectory(run, "pairs")
    config = run.require_kind("attack")
    count, batch_size = config.settings["images"], config.settings["batch_size"]
    shards, adversarial = [], None
    for start in range(0, count, batch_size):
        shard = _load_shard(_shard_path(run, start))
        require(
            shard is not None and len(shard["success"]) == min(batch_size, count - start),
            f"{run.path}: crafting is not finished (from image {start:,} of {count:,} on). The same"
            " bin/attack goes on.",
        )
        images = shard.pop("adversarial")
        if adversarial is None:
            adversarial = empty((count, *images.shape[1:]), np.float32)
        adversarial[start : start + len(images)] = images
        shards.append(shard)
    arrays = {
        name: np.concatenate([shard[name] for shard in shards])
        for name in _SHARD
        if name not in ("adversarial", "seconds")
    }
    seconds = float(sum(shard["seconds"] for shard in shards))
    return AdversarialDataset(
        run,
        dict(config.settings),
        config.fact("data", str),
        adversarial,
        **arrays,
        seconds=seconds,
    )


def hyperparameter_values(attack: Attack) -> dict[str, Any]:
    """Those of an attack by name, as JSON can hold them."""
    return {field.name: getattr(attack, field.name) for field in dataclasses.fields(attack)}


def _fill(
    run: RunDirectory,
    model: NamedModel,
    split: Split,
    attack: Attack,
    batch_size: int,
    missing: list[int],
) -> None:
    todo = sum(min(batch_size, len(split) - start) for start in missing)

    classes = tf.TensorSpec([None], tf.int32)
    images = tf.TensorSpec([None, *split.image_shape], tf.float32)

    @tf.function(input_signature=[images, classes, classes])
    def fools(images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        predicted = tf.argmax(model(images), axis=-1, output_type=tf.int32)
        return tf.where(targets < 0, predicted != labels, predicted == targets)

    share = -(-len(split) // cluster.worker_count())  # Of the chief, whose progress it is.
    with ProgressBar(f"{attack.name} on {model.name}", share, share - todo) as progress:
        for start in missing:
            part = split.select(slice(start, start + batch_size))
            began = time.monotonic()
            result = attack.run(model, part.images, part.labels)
            adversarial = result.images.numpy()
            seconds = time.monotonic() - began

            shard = {name: np.asarray(value) for name, value in result._asdict().items()}
            shard = {name: value for name, value in shard.items() if name in _SHARD}
            rounded = (np.round(adversarial * 255) / 255).astype(np.float32)
            shard.update(
                adversarial=adversarial,
                success_8bit=fools(rounded, part.labels, result.targets),
                clean_success=fools(part.images, part.labels, result.targets),
                seconds=np.float64(seconds),
            )
            _save_shard(_shard_path(run, start), shard)
            progress.advance(len(part))


def _read(run: RunDirectory, start: int, split: Split, batch_size: int) -> dict[str, np.ndarray] | None:
    shard = _load_shard(_shard_path(run, start))
    atomic_write = shard is not None and len(shard["success"]) == min(
        batch_size, len(split) - start
    )
    return shard if atomic_write else None


def _shard_path(run: RunDirectory, start: int) -> Path:
    return run.path / "shards" / f"{start:08d}.npz"


def _save_shard(path: Path, shard: dict[str, np.ndarray]) -> None:
    with atomic_write(path) as partial:
        np.savez(partial, **shard)


def _load_shard(path: Path) -> dict[str, np.ndarray] | None:
    """A whole shard; None where there is none, or a damaged one."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in _SHARD}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        print_line(f"{path}: damaged; it is made again.")
        return None


def _key(settings: dict[str, Any], data: str) -> str:
    return hash_parts([json.dumps([settings, data, tfdefense.__version__], sort_keys=True).encode()])
