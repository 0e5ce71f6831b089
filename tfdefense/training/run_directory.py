"""The run directory: everything that a later command, or another machine, needs."""

import re
import shutil
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tfdefense.errors import UserError, WorkFailedError, require, short_reason
from tfdefense.training.distribute import multi_worker
from tfdefense.training.loaded_model import load_stored_model, run_stored_model
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils.atomic_write import atomic_write, remove_partial_files, write_text_file
from tfdefense.utils.file_lock import lock_directory
from tfdefense.utils.file_trial import skip_trial, try_file
from tfdefense.utils.tensorflow_path import require_tensorflow_path
from tfdefense.utils.untrusted_file import read_text_file, require_modest_model

# What a command leaves that was killed before `config.json` was written.
_KILLED_EARLY = re.compile(r"\.lock|config\.json\..*\.partial")
SHARDS = "shards"  # Folder of the files of an adversarial dataset.


class RunDirectory:
    """A run directory by its path, which need not exist yet.

    It holds `config.json`, `classifier.keras`, `files.json`, `checkpoints/`, `events/`,
    `report.json`, `report.md`, `gallery.png` and `export/<version>/`.

    Args:
      path: the directory.
      flag: the command-line flag that named it, for error messages.
    """

    def __init__(self, path: str | Path, flag: str = "run") -> None:
        self.path = Path(path)
        self.flag = flag

    def __str__(self) -> str:
        """Return the flag and the path as typed, for error messages."""
        return f"--{self.flag}={self.path}"

    @property
    def config_path(self) -> Path:
        """The file that says what the run is."""
        return self.path / "config.json"

    @property
    def classifier_path(self) -> Path:
        """The file of the classifier that was trained or is guarded."""
        return self.path / "classifier.keras"

    @property
    def hashes_path(self) -> Path:
        """The file with hashes of the weights; see `tfdefense.training.run_files`."""
        return self.path / "files.json"

    def exists(self) -> bool:
        """Return whether the directory holds a `config.json`."""
        return self.config_path.is_file()

    def read_config(self) -> StoredConfig:
        """Read `config.json`.

        Raises:
          UserError: there is none, or it is damaged.
        """
        require(self.path.is_dir(), f"{self}: no such run directory.")
        require(self.exists(), f"{self}: not a run directory (it has no config.json).")
        return StoredConfig.from_json(read_text_file(self.config_path), self.config_path)

    def require_kind(self, kind: str) -> StoredConfig:
        """Return the configuration; raise `UserError` unless the run is of this kind."""
        config = self.read_config()
        require(
            config.kind == kind,
            f"{self}: is a run of kind {config.kind}; one of kind {kind} is needed.",
        )
        return config

    def create_or_reuse(self, config: StoredConfig, *, overwrite: bool = False) -> None:
        """Create the directory, or accept one with the same settings; lock it.

        Of several workers, the chief does this.

        Args:
          config: content of `config.json`.
          overwrite: delete an existing run of the same kind first.

        Raises:
          UserError: the directory is not a run directory or has other settings (the message lists
            them), it cannot be written, its name is not UTF-8, or another worker does not see it.
        """
        if config.kind in ("classifier", "defense"):  # TensorFlow writes into these.
            require_tensorflow_path(self.path, str(self))
        # All workers look for an existing run before the chief writes a new one.
        multi_worker.wait_for_workers()
        multi_worker.run_on_chief(lambda: self._create_or_reuse(config, overwrite=overwrite))
        require(
            not multi_worker.any_worker(not self.exists()),
            f"{self}: some workers do not see it. All workers need one directory on a shared file"
            " system.",
        )

    def _create_or_reuse(self, config: StoredConfig, *, overwrite: bool) -> None:
        if self.path.exists() and not self.exists():
            names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else {""}
            require(
                all(_KILLED_EARLY.fullmatch(name) for name in names),
                f"{self}: exists and is not a run directory (it has no config.json). Choose another"
                f" --{self.flag}.",
            )
        exists = self.exists()
        if exists:
            self.lock()
            if not overwrite:
                self.require_same_settings(config)
                return
            self.require_kind(config.kind)  # Never delete a directory of another kind.
        text = config.to_json()
        try:
            if exists:
                self._delete_content()
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock()
            write_text_file(self.config_path, text)
        except OSError as error:
            raise UserError(f"{self}: cannot be written ({error.strerror}).") from error

    def _delete_content(self) -> None:
        """Delete everything but the lock; killed half-way, the directory is still a run directory.

        The directory itself stays, because it may be a mount point or a link.
        """
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path not in (self.config_path, self.path / ".lock"):
                path.unlink()
        self.config_path.unlink(missing_ok=True)

    def lock(self) -> None:
        """Keep other processes out until this one ends; raise `UserError` if one is inside.

        Temporary files that killed processes left are removed, also those of shards.
        """
        if lock_directory(self.path, self.flag):
            for folder in (self.path, self.path / SHARDS):
                if folder.is_dir():
                    remove_partial_files(folder)

    def require_same_settings(
        self,
        config: StoredConfig,
        only: Collection[str] | None = None,
        remedy: str | None = None,
    ) -> None:
        """Raise `UserError` unless the run has the settings of `config` and, of all settings, its images.

        Args:
          config: the configuration asked for.
          only: the names to compare; None for all.
          remedy: what to do, for the message; None means what helps with commands that write the run.
        """
        stored = self.read_config()
        differences = stored.differences(config, only)
        if remedy is None:
            overwrite = ", or start afresh with --overwrite" if self.flag == "run" else ""
            remedy = f"choose another --{self.flag}{overwrite}."
        require(
            not differences,
            f"{self}: the run has other settings: {', '.join(differences)}. Give the same settings,"
            f" {remedy}",
        )
        if only is None:
            stored.require_same_images(config, str(self), f"Give the same images, {remedy}")
            stored.require_same_classifier(config, str(self), f"Give the same classifier, {remedy}")

    def has_classifier(self) -> bool:
        """Return whether `classifier.keras` exists for all workers; all must call this function."""
        return not multi_worker.any_worker(not self.classifier_path.is_file())

    def save_classifier(self, model: Any) -> None:
        """Save the Keras model under attack as `classifier.keras`.

        It removes `files.json`, because a file saved again has other bytes.

        Raises:
          WorkFailedError: the disk is full or not writable.
        """
        multi_worker.run_on_chief(lambda: self._save_classifier(model))

    def _save_classifier(self, model: Any) -> None:
        try:
            self.hashes_path.unlink(missing_ok=True)
            with atomic_write(self.classifier_path) as partial:
                model.save(partial)
            skip_trial(self.classifier_path)
        except OSError as error:
            raise WorkFailedError(
                f"{self.classifier_path}: cannot be written ({error.strerror or error})."
            ) from error

    def load_classifier(self) -> Any:
        """Load the Keras model that `save_classifier` saved.

        Raises:
          UserError: it is missing or damaged.
          WorkFailedError: a newer Keras wrote it, and no temporary copy can be written.
        """
        path = self.classifier_path
        require(path.is_file(), f"{self}: has no classifier.keras.")
        require_modest_model(path, str(path))
        require(zipfile.is_zipfile(path), f"{path}: cannot be loaded: damaged: not a zip archive.")
        try_file(path, run_stored_model, (path,), str(path))
        try:
            return load_stored_model(path)
        except UserError as error:
            raise UserError(f"{path}: cannot be loaded: {error}") from error
        except WorkFailedError:
            raise
        except Exception as error:  # Zip, HDF5, JSON and Keras have different exceptions.
            raise UserError(f"{path}: cannot be loaded: {short_reason(error)}") from error
