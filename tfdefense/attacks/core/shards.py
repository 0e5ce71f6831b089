"""Shards of an adversarial dataset: one .npz file per batch."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.compile_cache import compile_logits
from tfdefense.attacks.core.model import Model
from tfdefense.data.core.dataset import Split
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.hashing import hash_parts
from tfdefense.utils.npz_archive import ArrayHeader, NpzArchive

_CHECKSUM = "checksum"
_BOOLEAN, _INTEGER, _FLOAT = np.dtype(bool), np.dtype(np.int32), np.dtype(np.float32)
_UNKNOWN = -1


@dataclasses.dataclass(frozen=True)
class Shard:
    """Content of one file: an attack on n images.

    Attributes:
      adversarial: adversarial images, float32 [n, H, W, C] in [0, 1]; never rounded to 8 bits.
      success: bool [n]; True if the adversarial image fools the model.
      success_8bit: bool [n]; True if it still does after rounding to 8 bits.
      clean_success: bool [n]; True if the clean image already does.
      targets, l0, l2, linf, queries, gradients, no_gradient, surrogate: as in `AttackResult`.
        Version 0.2.0 stored no `targets` and no `surrogate`; they are read as -1.
      seconds: duration of the attack, one number.
    """

    adversarial: np.ndarray
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
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.success)

    def save(self, path: Path, key: str | None) -> None:
        """Write the file.

        Args:
          path: the file.
          key: what the shard belongs to; `load` needs the same. None writes no checksum.
        """
        arrays: dict[str, Any] = dict(vars(self))
        if key is not None:
            arrays[_CHECKSUM] = np.array(self._checksum(key))
        with atomic_write(path) as partial:
            np.savez(partial, **arrays)

    def _checksum(self, key: str) -> str:
        """Return a hash of the key and of all arrays."""
        return hash_parts([key.encode(), *vars(self).values()])

    @classmethod
    def load(cls, path: Path, count: int, key: str | None) -> "Shard":
        """Read a shard and check everything that needs neither the clean images nor the model.

        Args:
          path: the file.
          count: number of images that it must have.
          key: the key that it was saved with; None for a shard of version 0.2.0, which has no
            checksum.

        Raises:
          ValueError: the file is damaged, or an array has another shape or dtype, is not finite or
            is out of range; the message is a short reason.
        """
        with NpzArchive(path) as archive:
            for name, header in archive.headers.items():
                _check_header(name, header, count)
            missing = {field.name for field in dataclasses.fields(cls)} - archive.headers.keys()
            if missing - {"targets", "surrogate"} or (key is not None and missing):
                raise ValueError(f"{', '.join(sorted(missing))} missing")
            arrays = {
                field.name: np.full(count, _UNKNOWN, np.int32)
                if field.name in missing
                else archive.read(field.name)
                for field in dataclasses.fields(cls)
            }
            shard = cls(**arrays)
            if key is not None:
                stored = archive.read(_CHECKSUM) if _CHECKSUM in archive.headers else ""
                if str(stored) != shard._checksum(key):
                    raise ValueError("checksum wrong, so its content or its place was changed")
        shard._check_values()
        return shard

    def _check_values(self) -> None:
        for name, values in vars(self).items():
            if not np.all(np.isfinite(values)):
                raise ValueError(f"{name} not finite")
        if not np.all((self.adversarial >= 0) & (self.adversarial <= 1)):
            raise ValueError("adversarial not in [0, 1]")
        for name in ("l0", "l2", "linf", "queries", "gradients", "seconds"):
            if np.any(getattr(self, name) < 0):
                raise ValueError(f"{name} negative")


_DTYPES = {
    **dict.fromkeys(("success", "success_8bit", "clean_success", "no_gradient"), _BOOLEAN),
    **dict.fromkeys(("targets", "l0", "queries", "gradients", "surrogate"), _INTEGER),
    **dict.fromkeys(("l2", "linf"), _FLOAT),
}

PER_IMAGE_NAMES = tuple(
    field.name
    for field in dataclasses.fields(Shard)
    if field.name not in ("adversarial", "seconds")
)
"""Names of the small arrays with one number per image."""


def _check_header(name: str, header: ArrayHeader, count: int) -> None:
    """Raise `ValueError` unless an array of a shard has the right dtype and shape."""
    shape, dtype = header
    if name == "adversarial":
        needed, fits = f"float32 [{count}, H, W, C]", len(shape) == 4 and shape[0] == count
        fits = fits and dtype == _FLOAT
    elif name == "seconds":
        needed, fits = "one float64", (shape, dtype) == ((), np.dtype(np.float64))
    elif name == _CHECKSUM:
        needed, fits = "one text", shape == () and dtype.kind == "U"
    elif name in _DTYPES:
        needed = f"{_DTYPES[name]} [{count}]"
        fits = (shape, dtype) == ((count,), _DTYPES[name])
    else:
        raise ValueError(f"{name} unknown")
    if not fits:
        raise ValueError(f"{name} is {dtype} {list(shape)}, {needed} needed")


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
        self._logits = compile_logits(model, image_shape)

    def make(self, part: Split) -> Shard:
        """Attack the images of `part`."""
        began = time.monotonic()
        result = self._attack.run(self._model, part.images, part.labels)
        adversarial = result.images.numpy()
        seconds = np.float64(time.monotonic() - began)
        targets = np.asarray(result.targets)
        rounded = (np.round(adversarial * 255) / 255).astype(np.float32)
        return Shard(
            adversarial=adversarial,
            success=np.asarray(result.success),
            success_8bit=self._is_fooled(rounded, part.labels, targets),
            clean_success=self._is_fooled(np.asarray(part.images), part.labels, targets),
            targets=targets,
            l0=np.asarray(result.l0),
            l2=np.asarray(result.l2),
            linf=np.asarray(result.linf),
            queries=np.asarray(result.queries),
            gradients=np.asarray(result.gradients),
            no_gradient=np.asarray(result.no_gradient),
            surrogate=np.asarray(result.surrogate),
            seconds=np.asarray(seconds),
        )

    def _is_fooled(self, images: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> np.ndarray:
        predicted = np.argmax(self._logits(images), axis=-1)
        return np.where(targets < 0, predicted != labels, predicted == targets)
