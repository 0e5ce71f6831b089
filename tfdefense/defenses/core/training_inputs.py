"""Inputs of the training of a defence: images and options of the loop."""

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.adversarial_pairs import require_pair_weights


class LoopOptions(TypedDict, total=False):
    """Options of the training loop; defaults are those of `LoopConfig`.

    Keys:
      batch_size: examples in a step, over all replicas; by default `default_batch_size`.
      seed: seed of the order of the data and of all random draws. Initial weights depend on the
        constructor's seed, which `fit` takes by default; with a run directory both must be equal.
      mixed_precision: "float32" or "bfloat16", in which networks compute while they learn. Weights
        and losses, and all that is evaluated or exported, are float32 in either case.
      steps_per_loop: see `LoopConfig`.
    """

    batch_size: int
    seed: int
    mixed_precision: str
    steps_per_loop: int


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Images that a defence learns from.

    Attributes:
      train: clean images.
      validation: held-out clean images for the curves and pictures in TensorBoard, and for the
        thresholds of a detector; None for no validation.
      pairs: stored adversarial examples of all images of `train`, one dataset per attack; empty means
        that the defence creates its adversarial examples itself.
      pair_weights: weight of each dataset of `pairs` in the draw of an image; None means equal weights.
    """

    train: Split
    validation: Split | None = None
    pairs: Sequence[AdversarialDataset] = ()
    pair_weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.pair_weights is not None:
            require_pair_weights(self.pair_weights, len(self.pairs))
