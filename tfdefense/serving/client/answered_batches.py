"""Answers for the batches of an archive that is not finished, which a resumed run does not ask again."""

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np

from tfdefense.errors import require
from tfdefense.serving.client.model_client import ModelClient
from tfdefense.serving.client.output_checks import OutputRules
from tfdefense.serving.client.written_files import name_full_disk
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.hashing import hash_parts, is_hash
from tfdefense.utils.npz_archive import require_declared_sizes, write_npz

_FOLDER = ".answered"  # Hidden, so that it is no input of another purification.
_SIGNATURE = "serving_default"


class AnsweredBatches:
    """Predictions for the batches of one archive, stored until the archive is written.

    Args:
      target: the folder of the purification.
      model: the client. Answers of other versions of the model are not used.
      source_hash: hash of the archive. Answers for other bytes are not used.
      batch_size: images per request.

    Attributes:
      image_shape: (H, W, C) of the model.
      batch_size: images per request.
    """

    def __init__(self, target: Path, model: ModelClient, source_hash: str, batch_size: int) -> None:
        self._model, self.batch_size = model, batch_size
        self.image_shape = model.image_shape
        self._rules = OutputRules(str(target), model.image_shape, has_suspicion=model.has_suspicion)
        self._parent = target / _FOLDER
        key = [
            model.version.encode("utf-8", "surrogateescape"),
            source_hash.encode(),
            str(batch_size).encode(),
        ]
        self._directory = self._parent / hash_parts(b"%d:%b" % (len(each), each) for each in key)
        self._number = 0

    def predict_next(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for the next batch; ask the model only if none are stored.

        Args:
          images: float32 [N, H, W, C] in [0, 1].

        Raises:
          RequestRejected, UserError: from the model.
          WorkFailedError: the disk is full.
        """
        path = self._directory / f"{self._number}.npz"
        self._number += 1
        outputs = self._read(path, len(images))
        if outputs is None:
            outputs = self._model.predict(_SIGNATURE, images)
            with name_full_disk(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(path) as partial:
                    write_npz(partial, outputs)
        return outputs

    def remove(self) -> None:
        """Remove the answers: the archive is written."""
        shutil.rmtree(self._directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(self._parent)

    def _read(self, path: Path, count: int) -> dict[str, np.ndarray] | None:
        """Return stored outputs; None if there are none, or they are damaged."""
        if not path.is_file():
            return None
        try:
            require_declared_sizes(path)
            with np.load(path, allow_pickle=False) as archive:
                outputs = {name: archive[name] for name in archive.files}
            return self._rules.sound_outputs(outputs, _SIGNATURE, count)
        except Exception:  # The exception type of NumPy and zipfile depends on the damage.
            return None


def remove_answers(target: Path) -> None:
    """Remove all answers below a target: no archive in it is unfinished."""
    folder = target / _FOLDER
    for path in folder.iterdir() if folder.is_dir() else []:
        if is_hash(path.name):
            shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):  # It holds files of the user, or does not exist.
        os.rmdir(folder)


def require_own_folder(target: Path) -> None:
    """Raise `UserError` if the folder of the answers is a link, which could lead anywhere."""
    folder = target / _FOLDER
    require(
        not folder.is_symlink() and (folder.is_dir() or not folder.exists()),
        f"--output={target}: {folder} is a link or a file. Remove it.",
    )
