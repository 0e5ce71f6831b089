"""Images of a folder through a served model, and back into a folder."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tfdefense.errors import UserError, WorkFailed, require
from tfdefense.serving.client.model_client import Refused, ServedModel
from tfdefense.serving.client.npz_io import each_answer, purified_archive
from tfdefense.serving.client.predictions import Predictions, source_hash_of
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.progress import Progress, say

_IMAGES = (".png", ".jpg", ".jpeg")
_ARCHIVE = ".npz"
_ORIENTATION = 0x0112
_JPEG_QUALITY = 95


class Purifying:
    """One folder's way through a model.

    Writes each image under its own name and in its own format (PNG, JPEG, .npz), at the model's size, and
    `predictions.csv`. A file that cannot be used is named and skipped. What a call that was killed left done, of the same
    model and the same bytes, is not done again.

    Args:
      model: what purifies.
      source: a folder, looked into at any depth, or one file.
      target: the folder to write to.
      batch_size: images in a request.
      overwrite: do again what is done.

    Raises:
      UserError: no such folder, no images in it, or the target is in it or cannot be written.
    """

    def __init__(
        self,
        model: ServedModel,
        source: Path,
        target: Path,
        batch_size: int = 32,
        overwrite: bool = False,
    ) -> None:
        require(batch_size >= 1, f"--batch_size={batch_size}: at least 1 needed.")
        require(source.exists(), f"--input={source}: no such file or folder.")
        inside = (
            target.resolve() == source.resolve() or source.resolve() in target.resolve().parents
        )
        require(not inside, f"--output={target}: lies in --input={source}; name another folder.")
        self.model, self.source, self.target = model, source, target
        self.batch_size = batch_size
        self.root = source if source.is_dir() else source.parent
        self.files = _files(source)
        self.skipped = 0
        try:
            target.mkdir(parents=True, exist_ok=True)
            sources = {self._name(path): path for path in self.files}
            self.predictions = Predictions(
                target, model.version, sources, model.class_names, overwrite
            )
        except OSError as error:
            raise UserError(f"--output={target}: cannot be written ({error.strerror}).") from error

    def run(self) -> int:
        """Purifies; returns how many files there are in the target then.

        Raises:
          WorkFailed: some files were skipped.
        """
        waiting = [path for path in self.files if self._name(path) not in self.predictions.done]
        images = [path for path in waiting if path.suffix.lower() in _IMAGES]
        done = len(self.files) - len(waiting)
        with Progress("purifying", len(self.files), done) as progress:
            for start in range(0, len(images), self.batch_size):
                batch = images[start : start + self.batch_size]
                self._purify_files(batch)
                progress.advance(len(batch))
            for path in waiting:
                if path.suffix.lower() == _ARCHIVE:
                    self._purify_archive(path)
                    progress.advance(1)
        if self.skipped:
            raise WorkFailed(
                f"--input={self.source}: {self.skipped} of {len(self.files):,} files skipped; each is named above. The others"
                f" are in {self.target}."
            )
        return len(self.files)

    def _purify_files(self, paths: Sequence[Path]) -> None:
        sources = {path: source for path in paths if (source := self._read(path)) is not None}
        encoded = [_upright(source) for source in sources.values()]
        for path, answer in self._answered("serving_bytes", list(sources), encoded):
            pixels = np.uint8(np.round(255 * np.clip(answer["purified"], 0, 1)))
            picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
            options = {} if path.suffix.lower() == ".png" else {"quality": _JPEG_QUALITY}
            with atomic_write(self._place(path)) as partial:
                picture.save(partial, **options)
                self._note(path, [("", answer)], source_hash_of(sources[path]))

    def _purify_archive(self, path: Path) -> None:
        source = self._read(path)
        if source is None:
            return
        source_hash = source_hash_of(source)
        del source  # It may be large, and is read again.
        try:
            arrays, answers = purified_archive(self.model, path, self.batch_size)
        except UserError as error:
            self._skip(path, str(error))
            return
        with atomic_write(self._place(path)) as partial:
            np.savez_compressed(partial, **arrays)
            self._note(path, answers, source_hash)

    def _note(
        self, path: Path, answers: Sequence[tuple[str, dict[str, np.ndarray]]], source_hash: str
    ) -> None:
        """The lines of a file, before it has its name: those of a file that is not there do not count as done."""
        self._place(path).unlink(missing_ok=True)  # Of another model, or of other bytes.
        self.predictions.add(self._name(path), answers, source_hash)

    def _answered(
        self, signature: str, paths: Sequence[Path], values: Sequence[Any]
    ) -> Iterator[tuple[Path, dict]]:
        """The answer for each file; one that the model refuses keeps no other from its answer."""
        if not paths:
            return
        try:
            answers = self.model.predict(signature, np.array(values, object))
        except Refused as error:
            if len(paths) == 1:
                self._skip(paths[0], str(error))
                return
            for path, value in zip(paths, values, strict=True):
                yield from self._answered(signature, [path], [value])
            return
        yield from zip(paths, each_answer(answers, len(paths)), strict=True)

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except OSError as error:
            self._skip(path, f"cannot be read ({error.strerror})")
            return None

    def _skip(self, path: Path, reason: str) -> None:
        self.skipped += 1
        say(f"Skipped {path}: {' '.join(reason.split())}")

    def _place(self, path: Path) -> Path:
        place = self.target / path.relative_to(self.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _upright(encoded: bytes) -> bytes:
    """What is sent for a file: itself, or upright, where it notes that it is not."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.getexif().get(_ORIENTATION, 1) == 1:
                return encoded
            upright = io.BytesIO()
            ImageOps.exif_transpose(image).save(upright, "PNG")
            return upright.getvalue()
    except Exception:  # The model says better what is wrong with it.
        return encoded


def _files(source: Path) -> list[Path]:
    found = sorted(source.rglob("*")) if source.is_dir() else [source]
    kinds = (*_IMAGES, _ARCHIVE)
    files = [path for path in found if path.suffix.lower() in kinds and path.is_file()]
    require(bool(files), f"--input={source}: no {', '.join(kinds)} there.")
    return files
