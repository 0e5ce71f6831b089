"""What was measured of every image in one row of a report: what any figure can be recomputed from."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms

NORMS = ("l1", "l2", "linf")


@dataclasses.dataclass(frozen=True)
class PerImageResults:
    """One model on images that one attack made, or on clean ones.

    Attributes:
      predicted: class of each image, int32 [n]; `detection.REFUSED` where a detector stopped it.
      perturbation: L1, L2 and L-infinity norm of what the attack added, float32 [n, 3].
      left: the same of what still differs from the clean image after purifying; None without purifier.
      excess: how far past the detector, float32 [n]; None without one.
      counted: bool [n]: the images that the row is about; None means all.
    """

    predicted: np.ndarray
    perturbation: np.ndarray
    left: np.ndarray | None = None
    excess: np.ndarray | None = None
    counted: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.predicted)

    def arrays(self) -> dict[str, np.ndarray]:
        """Field name -> array, of those that there are."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if value is not None}


def perturbation_norms(change: tf.Tensor) -> tf.Tensor:
    """The three `NORMS` of changes [N, H, W, C]: float32 [N, 3]."""
    return tf.stack([norms.l1(change), norms.l2(change), norms.linf(change)], axis=-1)
