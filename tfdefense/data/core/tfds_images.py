"""Images of one split of a prepared TFDS dataset, and the shape that they are decoded to."""

import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.data.core.dataset import DataOptions
from tfdefense.data.core.file_hashes import hash_bytes, hash_files
from tfdefense.data.core.image_decoding import fit_pixels
from tfdefense.data.core.image_source import Batch
from tfdefense.errors import UserError, require
from tfdefense.utils.hashing import hash_parts

_BATCH = 500
_JPEG_START = b"\xff\xd8"
# Raise it whenever `TFDSImages.decode` gives other pixels than before.
_DECODER_VERSION = 1


class TFDSImages:
    """One split of a prepared TFDS dataset, as an `ImageSource`.

    Args:
      builder: a TFDS builder whose files are on disk, with the features "image" and "label".
      dataset: the dataset as given on the command line, for error messages.
      split: the name of the split.
      options: `image_size` resizes images, `channels` converts them; None keeps both.

    Raises:
      UserError: images of different sizes without `image_size`, images that are not uint8, or images
        that are neither grey nor RGB with `channels`.
    """

    def __init__(
        self, builder: Any, dataset: str, split: str, options: DataOptions | None = None
    ) -> None:
        options = options or DataOptions()
        self.builder = builder
        self.dataset = dataset
        self.split = split
        self.name = f"{dataset} {split}"
        feature = builder.info.features["image"]
        stored_height, stored_width, stored = feature.shape
        height, width = options.image_size or (stored_height, stored_width)
        channels = options.channels or stored
        require(
            options.channels is None or stored in (1, 3),
            f"--channels={channels}: images of --dataset={dataset} have {stored} channels; only 1 and 3"
            " can be converted.",
        )
        require(
            None not in (height, width, channels),
            f"--dataset={dataset}: images of different sizes. Give one size: --image_size=32, or"
            " HEIGHTxWIDTH.",
        )
        dtype = np.dtype(feature.np_dtype)
        require(dtype == np.uint8, f"--dataset={dataset}: images of {dtype}, uint8 needed.")
        count = builder.info.splits[split].num_examples
        self.shape = (count, height, width, channels)

    def fingerprint(self) -> str:
        """Return a hash of name, version, split, shape, decoder versions, and record files.

        The bytes of the record files are hashed, not only their names and sizes: a custom dataset may
        be prepared again with other images under the same version, and uncompressed images then have
        the same size. Hashing is about ten times as fast as decoding.
        """
        import tensorflow_datasets as tfds

        builder, info = self.builder, self.builder.info.splits[self.split]
        config = builder.builder_config and builder.builder_config.name
        versions = [tf.__version__, tfds.__version__, platform.machine(), _DECODER_VERSION]
        identity = [builder.name, str(builder.version), config, self.split, self.shape]
        paths = [str(path) for path in info.filepaths]
        hashes = hash_files(paths, info.shard_lengths, f"checking {self.name}", hash_bytes)
        names = [Path(path).name for path in paths]
        features = Path(str(builder.data_dir)) / "features.json"
        described = features.read_bytes() if features.is_file() else b""
        return hash_parts([json.dumps([identity, versions, names]).encode(), described, *hashes])

    def decode(self) -> Iterator[Batch]:
        """Decode the images in the order of the record files, 500 per batch.

        Raises:
          UserError: a record file is damaged.
        """
        import tensorflow_datasets as tfds

        records = self.builder.as_dataset(
            split=self.split, as_supervised=False, shuffle_files=False
        )
        shape = self.shape[1:]
        pairs = records.map(lambda record: (fit_pixels(record["image"], shape), record["label"]))
        try:
            yield from tfds.as_numpy(pairs.batch(_BATCH))
        except Exception as error:  # TFDS has another exception for each kind of damage.
            raise unreadable_split(self.dataset, self.split, error) from error

    def encoding_note(self) -> str:
        """Return a warning if the images are stored as JPEG, whose pixels are not the original's."""
        import tensorflow_datasets as tfds

        decoders = {"image": tfds.decode.SkipDecoding()}
        records = self.builder.as_dataset(split=self.split, decoders=decoders)
        encoded = next(iter(records.take(1)))["image"].numpy()
        if not encoded.startswith(_JPEG_START):
            return ""
        return (
            f"{self.builder.name} is read from a JPEG-encoded copy: its figures may differ from a"
            " lossless one's."
        )


def unreadable_split(dataset: str, split: str, error: Exception) -> UserError:
    """Return the error for a split whose record files are damaged."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return UserError(f"--dataset={dataset}: its {split} split cannot be read: {reason}")
