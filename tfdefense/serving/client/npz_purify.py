"""Purification of the images in an .npz archive."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfdefense.errors import UserError, require
from tfdefense.serving.client.answered_batches import AnsweredBatches
from tfdefense.serving.client.model_client import RequestRejected
from tfdefense.utils.npz_archive import require_declared_sizes
from tfdefense.utils.progress import ProgressBar
from tfdefense.utils.untrusted_file import require_archive_size

Outputs = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ImageArchive:
    """Arrays of an .npz file.

    Attributes:
      name: name of the file.
      arrays: all arrays by name; members that are not arrays are left out.
      image_arrays: names of the arrays of images: [N, H, W, C], or [N, H, W] if the model's images
        are grey, uint8 or floating point in [0, 1].
    """

    name: str
    arrays: dict[str, np.ndarray]
    image_arrays: tuple[str, ...]


def read_archive(path: Path, image_shape: tuple[int, int, int]) -> ImageArchive:
    """Read an archive that has images of a shape.

    Args:
      path: the .npz file.
      image_shape: (H, W, C).

    Raises:
      UserError: the archive is damaged, does not fit in memory or has no images of this shape.
    """
    require_archive_size(path, path.name)
    try:
        require_declared_sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
    except MemoryError as error:
        raise UserError(f"not enough memory to read it ({error})") from error
    except Exception as error:  # The exception type of NumPy and zipfile depends on the damage.
        raise UserError(f"not an .npz archive, or damaged ({error})") from error
    # NumPy returns the members that are not arrays as bytes.
    arrays = {name: value for name, value in members.items() if isinstance(value, np.ndarray)}
    image_arrays = tuple(name for name, array in arrays.items() if _is_images(array, image_shape))
    shape = ", ".join(map(str, image_shape))
    require(
        bool(image_arrays),
        f"has no array of images [N, {shape}], uint8 or floating point in [0, 1]",
    )
    return ImageArchive(path.name, arrays, image_arrays)


def purify_archive(
    archive: ImageArchive, answered: AnsweredBatches
) -> tuple[dict[str, np.ndarray], list[tuple[str, Outputs]]]:
    """Purify every array of images in an archive.

    Args:
      archive: the arrays.
      answered: asks the model for one batch after the other.

    Returns:
      All arrays of the archive by name, where images are purified and keep their dtype and shape;
      and ("name[index]", the model's outputs without `purified`) for each image.

    Raises:
      RequestRejected: the model rejects an image; the message names its batch.
      UserError: the model or its server fails.
    """
    arrays, outputs = dict(archive.arrays), []
    for name in archive.image_arrays:
        array = arrays[name]
        with ProgressBar(f"{archive.name}: {name}", len(array)) as progress:
            arrays[name], of_images = _purify_array(array, answered, progress)
        outputs += [(f"{name}[{index}]", each) for index, each in enumerate(of_images)]
    return arrays, outputs


def split_outputs(outputs: Mapping[str, np.ndarray], count: int) -> list[Outputs]:
    """Split the outputs for a batch of `count` images into one dict per image."""
    return [{name: value[index] for name, value in outputs.items()} for index in range(count)]


def _purify_array(
    array: np.ndarray, answered: AnsweredBatches, progress: ProgressBar
) -> tuple[np.ndarray, list[Outputs]]:
    is_uint8 = array.dtype == np.uint8
    images = array.reshape(len(array), *answered.image_shape)
    purified, of_images = [], []
    for start in range(0, len(images), answered.batch_size):
        batch = images[start : start + answered.batch_size].astype(np.float32)
        batch = batch / np.float32(255) if is_uint8 else batch
        try:
            outputs = answered.predict_next(batch)
        except RequestRejected as error:
            raise RequestRejected(f"images {start} to {start + len(batch) - 1}: {error}") from error
        purified.append(outputs.pop("purified"))
        of_images += split_outputs(outputs, len(batch))
        progress.advance(len(batch))
    joined = np.concatenate(purified)
    joined = np.round(255 * np.clip(joined, 0, 1)) if is_uint8 else joined
    return joined.astype(array.dtype).reshape(array.shape), of_images


def _is_images(array: np.ndarray, image_shape: tuple[int, int, int]) -> bool:
    has_type = array.dtype == np.uint8 or np.issubdtype(array.dtype, np.floating)
    without_channels = array.ndim == 3 and (*array.shape[1:], 1) == image_shape
    has_shape = array.ndim > 2 and (array.shape[1:] == image_shape or without_channels)
    return has_type and has_shape and len(array) > 0
