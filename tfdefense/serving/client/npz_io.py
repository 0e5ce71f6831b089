"""The images of an .npz archive through a served model."""

from pathlib import Path

import numpy as np

from tfdefense.errors import UserError, require
from tfdefense.serving.client.model_client import Refused, ServedModel
from tfdefense.utils.progress import Progress

Answer = dict[str, np.ndarray]


def purified_archive(
    model: ServedModel, path: Path, batch_size: int
) -> tuple[dict[str, np.ndarray], list[tuple[str, Answer]]]:
    """Purifies each array of images in an archive, [N, H, W, C] (or [N, H, W], where images are grey).

    Args:
      model: what purifies.
      path: the .npz; images in it are uint8, or floating point in [0, 1].
      batch_size: images in a request.

    Returns:
      All arrays of the archive by name, those of images purified, of the type and shape that they had; and
      ("name[index]", what the model answered) for each image.

    Raises:
      UserError: damaged, no images of the model's size in it, or the model refuses one.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # NumPy and zipfile raise a different type for every kind of damage.
        raise UserError(f"not an .npz, or damaged ({error})") from error
    fitting = [name for name, array in arrays.items() if _fits(array, model.image_shape)]
    shape = ", ".join(map(str, model.image_shape))
    require(bool(fitting), f"holds no images [N, {shape}], uint8 or floating point in [0, 1]")
    answers = []
    for name in fitting:
        with Progress(f"{path.name}: {name}", len(arrays[name])) as progress:
            arrays[name], each = _purified(model, arrays[name], batch_size, progress)
        answers += [(f"{name}[{index}]", answer) for index, answer in enumerate(each)]
    return arrays, answers


def each_answer(answers: Answer, count: int) -> list[Answer]:
    """What a model answered to `count` images, image by image."""
    return [{name: value[index] for name, value in answers.items()} for index in range(count)]


def _purified(
    model: ServedModel, array: np.ndarray, batch_size: int, progress: Progress
) -> tuple[np.ndarray, list[Answer]]:
    whole_numbers = array.dtype == np.uint8
    images = array.reshape(len(array), *model.image_shape).astype(np.float32)
    images = images / np.float32(255) if whole_numbers else images
    purified, answers = [], []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        try:
            answer = model.predict("serving_default", batch)
        except Refused as error:
            raise UserError(f"images {start} to {start + len(batch) - 1}: {error}") from error
        purified.append(answer.pop("purified"))
        answers += each_answer(answer, len(batch))
        progress.advance(len(batch))
    joined = np.concatenate(purified)
    joined = np.round(255 * np.clip(joined, 0, 1)) if whole_numbers else joined
    return joined.astype(array.dtype).reshape(array.shape), answers


def _fits(array: np.ndarray, shape: tuple[int, int, int]) -> bool:
    numbers = array.dtype == np.uint8 or np.issubdtype(array.dtype, np.floating)
    grey = shape[-1] == 1 and array.ndim == 3 and array.shape[1:] == shape[:2]
    return numbers and array.ndim > 2 and len(array) > 0 and (array.shape[1:] == shape or grey)
