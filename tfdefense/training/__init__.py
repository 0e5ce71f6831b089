"""The one training loop, used by classifiers and defences, and its parts.

Checkpoints, summaries, precision, seeds, and training on several replicas and workers.
"""

from tfdefense.training.loop_config import BATCH_SIZE, LoopConfig
from tfdefense.training.replica import Replica
from tfdefense.training.task import Task
from tfdefense.training.trainer import Trainer

__all__ = ["BATCH_SIZE", "LoopConfig", "Replica", "Task", "Trainer", "epochs_to_show"]


def epochs_to_show(images: int, count: int, minimum: int, maximum: int) -> int:
    """Return the number of epochs over `count` training images that show about `images` images.

    The result is in [minimum, maximum].
    """
    return min(max(round(images / count), minimum), maximum)
