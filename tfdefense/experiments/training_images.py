"""Training images of an experiment: how many it learns from, and the batches that they allow."""

import tensorflow as tf

from tfdefense.data import Dataset, Split
from tfdefense.errors import require


def first_training_images(dataset: Dataset, count: int | None) -> Split:
    """Return the first `count` training images, which are in a random order; None means all.

    Raises:
      UserError: fewer than 1, or more than there are.
    """
    total = len(dataset.train)
    require(
        count is None or 1 <= count <= total,
        f"--train_images={count}: {dataset.name} has {total:,} training images; 1 to {total:,} is needed.",
    )
    return dataset.train if count is None else dataset.train.take(count)


def require_fitting_batch(batch_size: int | None, train: Split) -> None:
    """Check the batch size of a new training; runs of older versions may have larger ones.

    Args:
      batch_size: as given; None means the default, which is always accepted.
      train: images that the training learns from.

    Raises:
      UserError: more images in a batch than there are, or not the same number for each replica of
        the current `tf.distribute` strategy.
    """
    count = len(train)
    require(
        batch_size is None or batch_size <= count,
        f"--batch_size={batch_size}: more than the {count:,} training images of {train.dataset};"
        f" 1 to {count:,} is needed.",
    )
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    require(
        batch_size is None or batch_size % replicas == 0,
        f"--batch_size={batch_size}: not a multiple of the {replicas} replicas. Give a multiple, or"
        " --strategy=one_device.",
    )
