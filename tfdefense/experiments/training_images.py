"""Training images of an experiment: how many it learns from, and the batches that they allow."""

from tfdefense.data import Dataset, Split
from tfdefense.errors import require
from tfdefense.training.loop_config import require_equal_shares


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
    if batch_size is None:
        return
    count = len(train)
    require(
        batch_size <= count,
        f"--batch_size={batch_size}: more than the {count:,} training images of {train.dataset};"
        f" 1 to {count:,} is needed.",
    )
    require_equal_shares(batch_size)
