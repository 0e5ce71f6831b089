"""Purification of the images in an .npz archive."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfdefense.errors import UserError, require
from tfdefense.serving.client.model_client import ModelClient, RequestRejected
from tfdefense.utils.npz_archive import require_declared_sizes
from tfdefense.utils.progress import ProgressBar
from tfdefense.utils.untrusted_file import require_archive_size

Outputs = dict[str, np.ndarray]


def purify_archive(
    model: ModelClient, path: Path, batch_size: int
) -> tuple[dict[str, np.ndarray], list[tuple[str, Outputs]]]:
    """Purify every array of images in an archive.

    Args:
      model: the client that purifies.
      path: the .npz file. An array of images is [N, H, W, C], or [N, H, W] if the model's images
        are grey, and uint8 or floating point in [0, 1].
      batch_size: images per request.

    Returns:
      All arrays of the archive by name, where images are purified and keep their dtype and shape;
      and ("name[index]", the model's outputs without `purified`) for each image.

    Raises:
      UserError: the archive is damaged or has no images of the model's size, or the model rejects
        an image.
    """
    require_archive_size(path, path.name)
    try:
        require_declared_sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # The exception type of NumPy and zipfile depends on the damage.
        raise UserError(f"not an .npz archive, or damaged ({error})") from error
    image_arrays = [name for name, array in arrays.items() if _is_images(array, model.image_shape)]
    shape = ", ".join(map(str, model.image_shape))
    require(
        bool(image_arrays),
        f"has no array of images [N, {shape}], uint8 or floating point in [0, 1]",
    )
    outputs = []
    for name in image_arrays:
        with ProgressBar(f"{path.name}: {name}", len(arrays[name])) as progress:
            arrays[name], of_images = _purify_array(model, arrays[name], batch_size, progress)
        outputs += [(f"{name}[{index}]", each) for index, each in enumerate(of_images)]
    return arrays, outputs


def split_outputs(outputs: Mapping[str, np.ndarray], count: int) -> list[Outputs]:
    """Split the outputs for a batch of `count` images into one dict per image."""
    return [{name: value[index] for name, value in outputs.items()} for index in range(count)]


def _purify_array(
    model: ModelClient, array: np.ndarray, batch_size: int, progress: ProgressBar
) -> tuple[np.ndarray, list[Outputs]]:
    is_uint8 = array.dtype == np.uint8
    images = array.reshape(len(array), *model.image_shape).astype(np.float32)
    images = images / np.float32(255) if is_uint8 else images
    purified, of_images = [], []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        try:
            outputs = model.predict("serving_default", batch)
        except RequestRejected as error:
            raise UserError(f"images {start} to {start + len(batch) - 1}: {error}") from error
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
