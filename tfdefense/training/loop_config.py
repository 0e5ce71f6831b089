"""Settings of the training loop."""

import dataclasses
import math

import tensorflow as tf

from tfdefense.errors import require, unknown_name
from tfdefense.training.mixed_precision import PRECISIONS
from tfdefense.utils.batch_size import fitting_batch_size

BATCH_SIZE = 128
_USUAL_VALUES = 32 * 32 * 3


def epochs_to_show(
    shown_images: int,
    train_count: int,
    minimum: int,
    maximum: int,
    image_shape: tuple[int, ...] = (32, 32, 3),
) -> int:
    """Return the number of epochs that show about `shown_images` training images.

    Of images with more values than 32x32x3, as many are shown as have the same number of values
    together.

    Args:
      shown_images: images to show, counting repetitions.
      train_count: number of training images.
      minimum: lower limit of the result, for images of up to 32x32x3; for larger ones, it is smaller
        by the factor by which fewer are shown.
      maximum: upper limit of the result.
      image_shape: (H, W, C).
    """
    scale = min(1.0, _USUAL_VALUES / math.prod(image_shape))
    epochs = round(scale * shown_images / train_count)
    return min(max(epochs, math.ceil(scale * minimum)), maximum)


def usual_batch_size(image_shape: tuple[int, ...], largest: int = BATCH_SIZE) -> int:
    """Return the batch size of a training that is given none: a multiple of the replicas.

    Args:
      image_shape: (H, W, C); large images have smaller batches.
      largest: upper limit.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    size = fitting_batch_size(image_shape, largest)
    return max(replicas, size - size % replicas)


def require_equal_shares(batch_size: int) -> None:
    """Check that the replicas of the current `tf.distribute` strategy can share a batch.

    Raises:
      UserError: the batch size is not a multiple of their number.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    require(
        batch_size % replicas == 0,
        f"--batch_size={batch_size}: not a multiple of the {replicas} replicas. Give a multiple, or"
        " --strategy=one_device.",
    )


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """Settings of the training loop, the same for every task.

    Attributes:
      epochs: passes over the training images, at least 1.
      batch_size: examples in a step over all replicas, a multiple of the number of replicas.
      seed: determines the order of the data and all random draws of the steps; 0 or more.
      mixed_precision: the dtype in which networks compute, "float32" or "bfloat16".
      steps_per_loop: largest number of steps in one call of the compiled loop; there are fewer if the
        images are large.
      checkpoint_seconds: minimum time between two checkpoints.
      validations: about the number of validations: fewer than twice as many, and about one in each
        epoch at most. The last one follows the last step.

    Raises:
      UserError: a number out of range, or an unknown precision.
    """

    epochs: int
    batch_size: int = BATCH_SIZE
    seed: int = 0
    mixed_precision: str = "float32"
    steps_per_loop: int = 20
    checkpoint_seconds: float = 30.0
    validations: int = 20

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "steps_per_loop", "validations"):
            value = getattr(self, field)
            require(value >= 1, f"--{field}={value}: at least 1 needed.")
        require(self.seed >= 0, f"--seed={self.seed}: 0 or more needed.")
        if self.mixed_precision not in PRECISIONS:
            raise unknown_name("--mixed_precision", self.mixed_precision, PRECISIONS)

    def total_steps(self, image_count: int) -> int:
        """Return the number of steps of a training on `image_count` images, at least 1."""
        return max(1, self.epochs * image_count // self.batch_size)

    def next_validation(self, step: int, image_count: int) -> int:
        """Return the number of steps after which the validation after `step` is due.

        It is a multiple of an interval, or the last step if less than half of an interval is left then.

        Args:
          step: number of steps done, less than `total_steps`.
          image_count: number of training images.
        """
        total = self.total_steps(image_count)
        interval = max(image_count // self.batch_size, total // self.validations, 1)
        due = (step // interval + 1) * interval
        return due if total - due >= interval / 2 else total
