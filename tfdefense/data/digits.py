"""The 1,797 handwritten digits that scikit-learn contains: real handwriting without a download."""

import numpy as np
from PIL import Image
from sklearn import datasets
from sklearn.model_selection import train_test_split

from tfdefense.data.core.dataset import DataOptions, Dataset, Split
from tfdefense.errors import require

# The split is a part of the dataset. It does not depend on the seed of a run.
_SPLIT_SEED = 0
_TEST_IMAGES = 360
_VALIDATION_IMAGES = 180


def load_digits(name: str = "digits", options: DataOptions | None = None) -> Dataset:
    """Load the 1,797 embedded digits: 28x28x1, split 1,257 / 180 / 360, stratified by class.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998 (its test set, as scikit-learn contains it): 8x8 pixels with 17 grey
    levels. They are enlarged to the format of MNIST: a 20x20 box in the middle of 28x28 pixels.

    Raises:
      UserError: `options` asks for another size or another split.
    """
    given = options.settings() if options else {}
    require(
        not given,
        f"--dataset={name}: has a fixed size (28x28) and fixed splits;"
        f" --{next(iter(given), '')} is not allowed.",
    )
    digits = datasets.load_digits()
    images = np.stack([_enlarge(image) for image in digits.images])
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


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Convert an 8x8 image with values in [0, 16] to float32 [28, 28, 1] in [0, 1]."""
    scaled = Image.fromarray((image / 16.0).astype(np.float32))
    box = scaled.resize((20, 20), Image.Resampling.BICUBIC)
    return np.pad(np.clip(np.asarray(box), 0.0, 1.0), 4)[..., np.newaxis]
