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
      threat_model: one of `threat_models.REPORTED_THREAT_MODELS`; "none" for clean images.
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
      change: L2 norm of what purifying changed, float32 [n]; None without a purifier.
      disagreement: total variation distance of the class probabilities with and without purifying,
        float32 [n], below 1e-3 rounded to 0; None without a purifier.
      excess: detector scores float32 [n]; an image with a score above 0 is refused. None without
        a detector.
      counted: bool [n], the images that the accuracy is computed from; None means all.
      changed_pixels: L0 norm of what the attack added: pixels that changed in any channel, int32 [n].
      queries, gradients: int32 [n], cost of the attack; see `AttackResult`. For grey-box and transfer
        rows it is the cost on the model that was attacked. None for clean images.
      surrogate: int32 [n], index of the surrogate gradient that fooled the attacked model, -1 for
        none; see `AttackResult`. None for clean images.
      surrogates: names of the surrogate gradients that `surrogate` counts, texts; None if the attacked
        model declares no choice of gradients.
      attacks: names of the attacks of a worst case, texts [k], the first one "none"; else None.
      fooled_by: int32 [n], index into `attacks` of the first attack that fooled the pipeline, -1 if
        all failed. 0 is "none": the image is misclassified before any attack. None for one attack.
    """

    predicted: np.ndarray
    perturbation: np.ndarray
    left: np.ndarray | None = None
    change: np.ndarray | None = None
    disagreement: np.ndarray | None = None
    excess: np.ndarray | None = None
    counted: np.ndarray | None = None
    changed_pixels: np.ndarray | None = None
    queries: np.ndarray | None = None
    gradients: np.ndarray | None = None
    surrogate: np.ndarray | None = None
    surrogates: np.ndarray | None = None
    attacks: np.ndarray | None = None
    fooled_by: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.predicted)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return field name -> array, without the fields that are None."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if value is not None}


def perturbation_norms(change: tf.Tensor) -> tf.Tensor:
    """Return the three `NORMS` of changes float32 [N, H, W, C] as float32 [N, 3]."""
    return tf.stack([norms.l1(change), norms.l2(change), norms.linf(change)], axis=-1)
