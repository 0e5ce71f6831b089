"""Labelled image files on disk: their sizes, their fingerprint, and their pixels."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfdefense.data.core.dataset import DataOptions
from tfdefense.data.core.file_hashes import hash_files, hash_image, hash_image_or_error
from tfdefense.data.core.file_listing import shorten_list
from tfdefense.data.core.image_reader import decode_files, decoder_versions, read_header
from tfdefense.data.core.image_source import Batch
from tfdefense.errors import UserError, require
from tfdefense.utils.hashing import hash_parts
from tfdefense.utils.progress import ProgressBar

# Label of a file that cannot be used, in a source that skips such files.
DAMAGED = -1
_BATCH = 64
_DAMAGED_SHOWN = 100


@dataclass(frozen=True)
class LabelledFiles:
    """Image files, their labels, and the parts of a dataset that they belong to.

    Attributes:
      names: N names, all different, that do not depend on the place of the files. Splits and
        fingerprints follow from them.
      paths: N files.
      labels: int32 [N].
      parts: part -> indices of its files: "all", or "train" with "validation", "test" or both.
      class_names: K names.
    """

    names: Sequence[str]
    paths: Sequence[Path]
    labels: np.ndarray
    parts: Mapping[str, np.ndarray]
    class_names: tuple[str, ...]


class ImageFiles:
    """Image files as an `ImageSource`.

    Args:
      name: short name for progress bars and messages.
      files: the files.
      image_shape: the shape (H, W, C) of the decoded images, with C = 1 or 3.
      skip_corrupt: give files that cannot be used the label `DAMAGED`; otherwise they are an error.
    """

    def __init__(
        self,
        name: str,
        files: LabelledFiles,
        image_shape: tuple[int, int, int],
        *,
        skip_corrupt: bool = False,
    ) -> None:
        self.name = name
        self.files = files
        self.skip_corrupt = skip_corrupt
        self.shape = (len(files.paths), *image_shape)
        self._hashes: list[bytes] = []

    def fingerprint(self) -> str:
        """Return a hash of all files' names and bytes, labels, shape, and the decoder's versions."""
        names = list(self.files.names)
        about = ["image files", decoder_versions(), self.skip_corrupt, self.shape, names]
        # With `skip_corrupt`, a file that cannot be read is left out, as a damaged one is.
        hash_file = hash_image_or_error if self.skip_corrupt else hash_image
        title = f"checking {self.name}"
        self._hashes = hash_files(self.files.paths, [1] * len(names), title, hash_file)
        return hash_parts([json.dumps(about).encode(), *self._hashes, self.files.labels])

    def file_hashes(self) -> list[bytes]:
        """Return the hash of each file's bytes, as `fingerprint` last computed them.

        Raises:
          OSError: a file cannot be read, without `skip_corrupt`.
        """
        if not self._hashes:
            self.fingerprint()
        return self._hashes

    def decode(self) -> Iterator[Batch]:
        """Decode the files in their order, 64 per batch.

        Raises:
          UserError: files cannot be used; the message names all of them.
        """
        damaged: list[str] = []
        for start in range(0, len(self.files.paths), _BATCH):
            rows = slice(start, start + _BATCH)
            images, reasons = decode_files(self.files.paths[rows], self.shape[1:])
            labels = np.array(self.files.labels[rows])
            labels[list(reasons)] = DAMAGED
            damaged += [f"{self.files.names[start + i]}: {text}" for i, text in reasons.items()]
            yield images, labels
        require(self.skip_corrupt or not damaged, f"{self.name}: {describe_damaged(damaged)}")


def describe_damaged(damaged: Sequence[str]) -> str:
    """Return the message for files that cannot be used.

    Args:
      damaged: "NAME: REASON" for each file.
    """
    files = "1 file is" if len(damaged) == 1 else f"{len(damaged):,} files are"
    return (
        f"{files} damaged: {shorten_list(damaged, _DAMAGED_SHOWN)}. Replace or delete them, or leave"
        " them out with --skip_corrupt."
    )


def survey_images(files: LabelledFiles, name: str, options: DataOptions) -> tuple[int, int, int]:
    """Return the shape (H, W, C) that image files are decoded to, from their headers and `options`.

    Without `options.channels`, C is 1 if all images are grey, else 3. Files that cannot be read are
    left to `ImageFiles.decode`.

    Args:
      files: one file or more.
      name: the dataset as given on the command line, for error messages.
      options: `image_size` is needed if sizes differ.

    Raises:
      UserError: no file can be read, or sizes differ and `options.image_size` is None.
    """
    is_grey, first, damaged = True, None, []
    with ProgressBar(f"reading the sizes of {name}", len(files.paths)) as progress:
        for file_name, path in zip(files.names, files.paths, strict=True):
            progress.advance(1)
            try:
                header = read_header(path)
            except UserError as error:
                damaged.append(f"{file_name}: {error}")
                continue
            is_grey = is_grey and header.is_grey
            size = (header.height, header.width)
            first = first or (path.name, size)
            require(
                size == first[1] or options.image_size is not None,
                f"--dataset={name}: images of different sizes ({first[0]} {_format_size(first[1])},"
                f" {path.name} {_format_size(size)}). Give one size: --image_size=32, or"
                " HEIGHTxWIDTH.",
            )
    if first is None:
        raise UserError(f"--dataset={name}: no file can be used; {describe_damaged(damaged)}")
    height, width = options.image_size or first[1]
    return height, width, options.channels or (1 if is_grey else 3)


def _format_size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
