"""The contract between a source of image files and the code that decodes and caches them."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from tfdefense.errors import UserError
from tfdefense.utils.progress import ProgressBar

# uint8 images [n, H, W, C] and their integer labels [n].
Batch = tuple[np.ndarray, np.ndarray]


class ImageSource(Protocol):
    """Encoded images of one size that can be decoded in a fixed order.

    Attributes:
      name: short name for progress bars and messages.
      shape: the shape [N, H, W, C] of all decoded images.
    """

    name: str
    shape: tuple[int, int, int, int]

    def fingerprint(self) -> str:
        """Return a hash of everything that the decoded images and labels depend on.

        It covers the bytes of the source files, the options that change pixels, and the versions of
        the libraries that decode. Equal fingerprints mean equal images in equal order.
        """

    def decode(self) -> Iterator[Batch]:
        """Decode all images, batch by batch.

        Raises:
          UserError: a file is damaged.
        """


def decode_with_progress(source: ImageSource) -> Iterator[Batch]:
    """Decode all images of `source` with a progress bar.

    Raises:
      UserError: a file is damaged, or the number of images differs from `source.shape`.
    """
    count, done = source.shape[0], 0
    with ProgressBar(source.name, count) as progress:
        for images, labels in source.decode():
            done += len(images)
            if done <= count:
                yield images, labels
            progress.advance(len(images))
    if done != count:
        raise UserError(
            f"{source.name}: {done:,} images found, {count:,} announced by the dataset."
        )
