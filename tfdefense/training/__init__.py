"""The one training loop, and what surrounds it."""

from tfdefense.training.replica import Replica
from tfdefense.training.trainer import BATCH_SIZE, LoopConfig, Task, Trainer

__all__ = ["BATCH_SIZE", "LoopConfig", "Replica", "Task", "Trainer", "epochs_for"]


def epochs_for(images: int, count: int, least: int, most: int) -> int:
    """How many passes over `count` images make about `images` images, between `least` and `most`."""
    return min(max(round(images / count), least), most)
