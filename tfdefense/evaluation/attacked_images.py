"""Images of a split after an attack, with the cost of the attack on each image."""

import dataclasses
from typing import Any

import numpy as np

from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray

COST_NAMES = ("queries", "gradients", "surrogate")
"""Fields of `AttackedImages` that an attack returns for each image."""


@dataclasses.dataclass(frozen=True)
class AttackedImages(Split):
    """Adversarial images with the true classes; see `Split`.

    Attributes:
      queries, gradients, surrogate: int32 [N], as in `AttackResult`; None if they are unknown.
      surrogate_names: names of the surrogate gradients that the attack tried; `surrogate` is an index
        into them.
    """

    queries: np.ndarray | None = None
    gradients: np.ndarray | None = None
    surrogate: np.ndarray | None = None
    surrogate_names: tuple[str, ...] = ()

    def select(self, indices: np.ndarray | slice) -> "AttackedImages":
        split = super().select(indices)
        costs: dict[str, Any] = {name: each[indices] for name, each in self.costs().items()}
        return AttackedImages(**_fields(split), **costs, surrogate_names=self.surrogate_names)

    def costs(self) -> dict[str, Any]:
        """Return name -> int32 [N] of the `COST_NAMES` that are known."""
        values = {name: getattr(self, name) for name in COST_NAMES}
        return {name: array for name, array in values.items() if array is not None}

    def attacked_again(self, rows: np.ndarray, again: "AttackedImages") -> "AttackedImages":
        """Return these images after a second attack on some of them; the costs add up.

        Args:
          rows: indices of the images that were attacked again.
          again: their images and costs.
        """
        images, costs = np.array(self.images), self.costs()
        images[rows] = again.images
        for name, values in again.costs().items():
            if name in costs:
                costs[name] = costs[name].copy()
                costs[name][rows] = values + (costs[name][rows] if name != "surrogate" else 0)
        return dataclasses.replace(self, images=images, **costs)


def attacked_images(
    split: Split,
    images: np.ndarray | DiskArray,
    costs: dict[str, Any],
    surrogate_names: tuple[str, ...] = (),
) -> AttackedImages:
    """Return the images of `split` after an attack.

    Args:
      split: the clean images.
      images: adversarial images [N, H, W, C].
      costs, surrogate_names: fields of `AttackedImages`.
    """
    fields = {**_fields(split), "images": images}
    return AttackedImages(**fields, **costs, surrogate_names=surrogate_names)


def _fields(split: Split) -> dict[str, Any]:
    return {field.name: getattr(split, field.name) for field in dataclasses.fields(Split)}
