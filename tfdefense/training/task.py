"""The contract between the training loop and the methods that it trains."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfdefense.training.replica import Replica

Scalars = dict[str, float]
ImageGrids = dict[str, np.ndarray]
# A function without arguments: measures the task on validation images, for TensorBoard.
Validate = Callable[[], tuple[Scalars, ImageGrids]]
# The largest number of images that it uses: it is called about twenty times in a training.
VALIDATION_IMAGES = 500


class Task(Protocol):
    """The thing that `Trainer` trains: variables and one training step.

    Attributes:
      name: shown next to the progress bar and in messages.
      should_stop: true if validation shows that more training is useless. Training then ends
        before its last step.
      frozen_networks: networks that the step only applies, in inference mode, such as the classifier
        behind a purifier. They compute in the precision of the training too.
    """

    name: str

    @property
    def should_stop(self) -> bool: ...

    @property
    def frozen_networks(self) -> Sequence[keras.Layer]: ...

    def checkpoint_items(self) -> dict[str, Any]:
        """Return everything that training changes, by name: networks, optimizers, variables."""

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        """Update the variables from this replica's part of a batch.

        The step is traced without AutoGraph: a condition on a tensor needs `tf.cond`.

        Args:
          batch: name -> tensor [n, ...], n examples of this replica.
          replica: means over the global batch, and random numbers.

        Returns:
          Scalars to log. The values of all replicas are added up.
        """

    def finish(self) -> None:
        """Complete the training after the last step, before the last checkpoint is saved.

        It is not called if `should_stop` ends the training earlier.
        """
