"""scikit-learn's 1,797 handwritten digits: real handwriting that needs no download."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tfdefense.data.core.dataset import DataOptions, Dataset, Split
from tfdefense.errors import require

# The split belongs to the dataset, not to a run: it is the same for every seed.
_SPLIT_SEED = 0
_TEST_IMAGES = 360
_VALIDATION_IMAGES = 180


def load_digits_dataset(name: str = "digits", options: DataOptions | None = None) -> Dataset:
    """scikit-learn's 1,797 handwritten digits, embedded, as 28x28x1 images, split 1,257 / 180 / 360, stratified by class.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998 (its test set, as scikit-learn ships it): 8x8 pixels of 17 grey levels.
    They are enlarged to MNIST's format, a 20x20 box in the middle of 28x28.

    Raises:
      UserError: another size or another split asked for.
    """
    given = options.settings() if options else {}
    require(
        not given, f"--dataset={name}: is 28x28 and split already; no --{next(iter(given), '')}."
    )
    digits = load_digits()
    images = np.stack([_like_mnist(image) for image in digits.images])
    labels = digits.target.astype(np.int32)
    indices = np.arange(len(images))
    rest, test = train_test_split(
        indices, test_size=_TEST_IMAGES, stratify=labels, random_state=_SPLIT_SEED
    )
    train, validation = train_test_split(
        rest, test_size=_VALIDATION_IMAGES, stratify=labels[rest], random_state=_SPLIT_SEED
    )
    everything = Split(images, labels, num_classes=10, dataset=name)
    return Dataset(
        name=name,
        train=everything.select(train),
        validation=everything.select(validation),
        test=everything.select(test),
        class_names=tuple(str(digit) for digit in range(10)),
    )


def _like_mnist(image: np.ndarray) -> np.ndarray:
    """8x8 in [0, 16] -> 28x28x1 in [0, 1]."""
    box = Image.fromarray((image / 16.0).astype(np.float32)).resize((20, 20), Image.BICUBIC)
    return np.pad(np.clip(np.asarray(box), 0.0, 1.0), 4)[..., np.newaxis]
