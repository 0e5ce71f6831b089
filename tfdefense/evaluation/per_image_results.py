"""Measurements of single images, from which every number of a report can be recomputed."""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms

NORMS = ("l1", "l2", "linf")
REFUSED = -1  # Predicted class of an image that a detector refuses.


class ResultKey(NamedTuple):
    """Name of one set of results in `predictions.npz`.

    Attributes:
      defense: name of the pipeline; "none" is the classifier alone.
      attack: label of the attack; "none" stands for clean images.
      threat_model: one of `threat_models.THREAT_MODELS`; "none" for clean images.
    """

    defense: str
    attack: str
    threat_model: str

    def __str__(self) -> str:
        return "/".join(self)

    @classmethod
    def parse(cls, text: str) -> "ResultKey":
        """Return the key of "defense/attack/threat_model"."""
        return cls(*text.split("/"))


@dataclasses.dataclass(frozen=True)
class PerImageResults:
    """Results of one pipeline on n images, clean or made by one attack.

    Attributes:
      predicted: predicted classes int32 [n]; `REFUSED` for an image that a detector refuses.
      perturbation: L1, L2 and L-infinity norm of what the attack added, float32 [n, 3].
      left: the same norms of the difference between the purified and the clean image; None without
        a purifier.
      excess: detector scores float32 [n]; an image with a score above 0 is refused. None without
        a detector.
      counted: bool [n], the images that the accuracy is computed from; None means all.
    """

    predicted: np.ndarray
    perturbation: np.ndarray
    left: np.ndarray | None = None
    excess: np.ndarray | None = None
    counted: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.predicted)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return field name -> array, without the fields that are None."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if value is not None}


def perturbation_norms(change: tf.Tensor) -> tf.Tensor:
    """Return the three `NORMS` of changes float32 [N, H, W, C] as float32 [N, 3]."""
    return tf.stack([norms.l1(change), norms.l2(change), norms.linf(change)], axis=-1)
