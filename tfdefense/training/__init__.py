"""The one training loop, used by classifiers and defences, and its parts.

Checkpoints, summaries, precision, seeds, and training on several replicas and workers.
"""

import math

from tfdefense.training.loop_config import BATCH_SIZE, LoopConfig, usual_batch_size
from tfdefense.training.replica import Replica
from tfdefense.training.task import Task
from tfdefense.training.trainer import Trainer

__all__ = [
    "BATCH_SIZE",
    "LoopConfig",
    "Replica",
    "Task",
    "Trainer",
    "epochs_to_show",
    "usual_batch_size",
]


_USUAL_VALUES = 32 * 32 * 3


def epochs_to_show(
    images: int,
    count: int,
    minimum: int,
    maximum: int,
    image_shape: tuple[int, ...] = (32, 32, 3),
) -> int:
    """Return the number of epochs over `count` training images that show about `images` images.

    The result is in [minimum, maximum]. Of images with more values than 32x32x3, as many are shown
    as have the same number of values together, and the minimum is smaller by the same factor.
    """
    scale = min(1.0, _USUAL_VALUES / math.prod(image_shape))
    return min(max(round(scale * images / count), math.ceil(scale * minimum)), maximum)
