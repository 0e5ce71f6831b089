"""Purification of the images of a folder with an exported model."""

import contextlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tfdefense.data.core.image_reader import SUFFIXES, read_upright
from tfdefense.errors import UserError, WorkFailedError, require
from tfdefense.serving.client.answered_batches import (
    AnsweredBatches,
    remove_answers,
    require_own_folder,
)
from tfdefense.serving.client.folded_names import require_distinct_names
from tfdefense.serving.client.model_client import ModelClient, RequestRejected
from tfdefense.serving.client.npz_purify import (
    Outputs,
    purify_archive,
    read_archive,
    split_outputs,
)
from tfdefense.serving.client.picture_files import ARCHIVE_SUFFIX, list_inputs, save_picture
from tfdefense.serving.client.predictions_file import PredictionsFile, hash_source
from tfdefense.serving.client.predictions_rows import FILE, read_stored
from tfdefense.serving.client.purify_settings import PurifySettings
from tfdefense.serving.client.written_files import (
    name_full_disk,
    remove_unfinished,
    require_separate_folders,
    require_writable_targets,
)
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.file_lock import lock_directory, release_directory
from tfdefense.utils.npz_archive import write_npz
from tfdefense.utils.progress import ProgressBar, print_line
from tfdefense.utils.visible_text import visible_line

_MAX_IMAGE_BYTES = 2**31  # As in the reader of images; otherwise a huge file is hashed first.


class BatchPurifier:
    """Purification of all images of one folder.

    Images are read as the loader of datasets reads them. Each keeps its name and format and gets the
    model's size; GIF and WebP files get one frame. `predictions.csv` has one line per image. Hidden
    files and files of other formats are left out, in one line; a file that cannot be used is reported
    and skipped. A later call with the same model skips files that are finished and have not changed.

    Args:
      model: the client that purifies.
      source: a folder, searched recursively, or one file.
      target: the folder to write.
      settings: see `PurifySettings`; None means the defaults.

    Raises:
      UserError: the source does not exist or has no images; an alarm is set and the model has no output
        `suspicion`; the target is, holds or is inside the source, is in use by another process,
        cannot be written, or does not fit `settings.resume`; a file that would be written is an
        input, is behind a link, or was not written by a `BatchPurifier`; or two would be one file.
    """

    def __init__(
        self,
        model: ModelClient,
        source: Path,
        target: Path,
        settings: PurifySettings | None = None,
    ) -> None:
        require(source.exists(), f"--input={source}: no such file or folder.")
        require_separate_folders(source, target)
        self.model, self.source, self.target = model, source, target
        self.settings = settings or PurifySettings()
        self.settings.require_suspicion(model)
        self.root = source if source.is_dir() else source.parent
        self.files = list_inputs(source)
        self.skipped = 0
        overwrite = self.settings.overwrite
        sources = {self._name(path): path for path in self.files}
        stored = read_stored(target, overwrite=overwrite)
        self.settings.require_resumable(target / FILE, stored, model.version, sources)
        written = {row.get("file", "") for row in stored}
        require_writable_targets(target, sources, written, overwrite=overwrite)
        require_own_folder(target)
        try:
            with name_full_disk(target):
                require_distinct_names(target, sources)
                target.mkdir(parents=True, exist_ok=True)
                if lock_directory(target, "output"):
                    remove_unfinished(target, sources)
                # Another process may have written lines until it released the lock.
                stored = read_stored(target, overwrite=overwrite)
                self.settings.require_resumable(target / FILE, stored, model.version, sources)
                if self.settings.starts_anew:
                    remove_answers(target)
                self.predictions = PredictionsFile(target, model, sources, stored, self.settings)
        except (UserError, WorkFailedError):
            release_directory(target, remove=True)
            raise
        except OSError as error:
            release_directory(target, remove=True)
            raise UserError(f"--output={target}: cannot be written ({error.strerror}).") from error

    def run(self) -> int:
        """Purify all files that are not finished; return the number of files in the target.

        Raises:
          WorkFailedError: files were skipped, unless `settings.skip_bad` accepts it; none could be
            used; or the disk is full.
          UserError: the model or its server fails, or a server returns unsound outputs.
        """
        try:
            try:
                return self._run()
            finally:
                with name_full_disk(self.predictions.path):
                    self.predictions.remove_replaced()
        finally:
            release_directory(self.target, remove=True)

    def _run(self) -> int:
        finished = self.predictions.finished
        waiting = [path for path in self.files if self._name(path) not in finished]
        images = [path for path in waiting if path.suffix.lower() in SUFFIXES]
        with ProgressBar("purifying", len(self.files), len(self.files) - len(waiting)) as progress:
            batch_size = self.settings.batch_size
            for start in range(0, len(images), batch_size):
                batch = images[start : start + batch_size]
                self._purify_images(batch)
                progress.advance(len(batch))
            for path in waiting:
                if path.suffix.lower() == ARCHIVE_SUFFIX:
                    self._purify_archive(path)
                    progress.advance(1)
        remove_answers(self.target)
        purified = len(self.files) - self.skipped
        if self.skipped:
            others = f"The others are in {self.target}." if purified else "None was purified."
            summary = (
                f"--input={self.source}: {self.skipped} of {len(self.files):,} files skipped, for the"
                f" reasons above. {others}"
            )
            if not (self.settings.skip_bad and purified):
                raise WorkFailedError(summary)
            print_line(summary)
        return purified

    def _purify_images(self, paths: Sequence[Path]) -> None:
        hashes: dict[Path, str] = {}
        encoded: list[bytes] = []
        for path in paths:
            try:
                # First: a file that is replaced in between is then purified again.
                source_hash = hash_source(path, _MAX_IMAGE_BYTES)
                encoded.append(read_upright(path))
                hashes[path] = source_hash
            except OSError as error:
                self._skip(path, f"cannot be read ({error.strerror})")
            except UserError as error:
                self._skip(path, str(error))
        for path, outputs in self._predict_encoded(list(hashes), encoded):
            with self._write(path) as partial:
                save_picture(outputs["purified"], partial)
                self._add_predictions(path, [("", outputs)], hashes[path])

    def _purify_archive(self, path: Path) -> None:
        try:
            source_hash = hash_source(path)
            archive = read_archive(path, self.model.image_shape)
        except OSError as error:
            self._skip(path, f"cannot be read ({error.strerror})")
            return
        except UserError as error:
            self._skip(path, str(error))
            return
        answered = AnsweredBatches(self.target, self.model, source_hash, self.settings.batch_size)
        try:
            arrays, outputs = purify_archive(archive, answered)
        except RequestRejected as error:
            self._skip(path, str(error))
            return
        with self._write(path) as partial:
            write_npz(partial, arrays, zipfile.ZIP_DEFLATED)
            self._add_predictions(path, outputs, source_hash)
        answered.remove()

    @contextlib.contextmanager
    def _write(self, path: Path) -> Iterator[Path]:
        """Yield a temporary path for the purified file of an input file; see `atomic_write`."""
        target = self._target_path(path)
        with name_full_disk(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as partial:
                yield partial

    def _add_predictions(
        self, path: Path, outputs: Sequence[tuple[str, Outputs]], source_hash: str
    ) -> None:
        """Write the lines of a file before the file: lines without a file are not finished."""
        # What is there was made by another model, from other bytes, or is empty.
        self._target_path(path).unlink(missing_ok=True)
        self.predictions.add(self._name(path), outputs, source_hash)

    def _predict_encoded(
        self, paths: Sequence[Path], encoded: Sequence[bytes]
    ) -> Iterator[tuple[Path, Outputs]]:
        """Yield the outputs for each file; if the batch is rejected, send each file alone."""
        if not paths:
            return
        try:
            outputs = self.model.predict("serving_bytes", np.array(encoded, object))
        except RequestRejected as error:
            if len(paths) == 1:
                self._skip(paths[0], str(error))
                return
            for path, value in zip(paths, encoded, strict=True):
                yield from self._predict_encoded([path], [value])
            return
        yield from zip(paths, split_outputs(outputs, len(paths)), strict=True)

    def _skip(self, path: Path, reason: str) -> None:
        reason = visible_line(reason)
        if self.settings.skip_bad is False:
            raise WorkFailedError(
                f"{path}: {reason}. Stopped, because of --noskip_bad; repeat the command to resume."
            )
        self.skipped += 1
        print_line(f"Skipped {path}: {reason}")

    def _target_path(self, path: Path) -> Path:
        return self.target / path.relative_to(self.root)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()
