"""The one training loop, used by classifiers and defences, and its parts.

Checkpoints, summaries, precision, seeds, and training on several replicas and workers.
"""

from tfdefense.training.loop_config import (
    BATCH_SIZE,
    LoopConfig,
    epochs_to_show,
    usual_batch_size,
)
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
