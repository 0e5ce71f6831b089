"""Shards of an adversarial dataset: one .npz file per batch."""

import dataclasses
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.model import Model
from tfdefense.data.core.dataset import Split
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.progress import print_line


@dataclasses.dataclass(frozen=True)
class Shard:
    """Content of one file: an attack on n images.

    Attributes:
      adversarial: adversarial images, float32 [n, H, W, C] in [0, 1]; never rounded to 8 bits.
      success: bool [n]; True if the adversarial image fools the model.
      success_8bit: bool [n]; True if it still does after rounding to 8 bits.
      clean_success: bool [n]; True if the clean image already does.
      l0, l2, linf, queries, gradients, no_gradient: as in `AttackResult`.
      seconds: duration of the attack, one number.
    """

    adversarial: np.ndarray
    success: np.ndarray
    success_8bit: np.ndarray
    clean_success: np.ndarray
    l0: np.ndarray
    l2: np.ndarray
    linf: np.ndarray
    queries: np.ndarray
    gradients: np.ndarray
    no_gradient: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.success)

    def save(self, path: Path) -> None:
        """Write the file."""
        arrays: dict[str, Any] = vars(self)
        with atomic_write(path) as partial:
            np.savez(partial, **arrays)


PER_IMAGE_NAMES = tuple(
    field.name
    for field in dataclasses.fields(Shard)
    if field.name not in ("adversarial", "seconds")
)
"""Names of the small arrays with one number per image."""


def load_shard(path: Path, count: int) -> Shard | None:
    """Return the shard in `path`; None if it is missing, damaged or not of `count` images."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            shard = Shard(**{field.name: file[field.name] for field in dataclasses.fields(Shard)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        print_line(f"{path}: damaged; it is made again.")
        return None
    return shard if len(shard) == count else None


class ShardMaker:
    """Maker of shards for one attack on one model.

    Args:
      model: the attacked model.
      attack: the attack.
      image_shape: (H, W, C).
    """

    def __init__(self, model: Model, attack: Attack, image_shape: tuple[int, int, int]) -> None:
        self._model = model
        self._attack = attack
        classes = tf.TensorSpec([None], tf.int32)
        images = tf.TensorSpec([None, *image_shape], tf.float32)

        @tf.function(input_signature=[images, classes, classes])
        def is_fooled(images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
            predicted = tf.argmax(model(images), axis=-1, output_type=tf.int32)
            return tf.where(targets < 0, predicted != labels, predicted == targets)

        self._is_fooled = is_fooled

    def make(self, part: Split) -> Shard:
        """Attack the images of `part`."""
        began = time.monotonic()
        result = self._attack.run(self._model, part.images, part.labels)
        adversarial = result.images.numpy()
        seconds = np.float64(time.monotonic() - began)
        rounded = (np.round(adversarial * 255) / 255).astype(np.float32)
        return Shard(
            adversarial=adversarial,
            success=np.asarray(result.success),
            success_8bit=np.asarray(self._is_fooled(rounded, part.labels, result.targets)),
            clean_success=np.asarray(self._is_fooled(part.images, part.labels, result.targets)),
            l0=np.asarray(result.l0),
            l2=np.asarray(result.l2),
            linf=np.asarray(result.linf),
            queries=np.asarray(result.queries),
            gradients=np.asarray(result.gradients),
            no_gradient=np.asarray(result.no_gradient),
            seconds=np.asarray(seconds),
        )
