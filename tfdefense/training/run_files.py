"""Hashes of a run's weight files, by which a later command sees that a file was exchanged or cut."""

import json
from pathlib import Path
from typing import Any

from tfdefense.errors import UserError, WorkFailedError, require
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.hashing import hash_parts, hash_path
from tfdefense.utils.json_types import TypeMismatch, typed_value
from tfdefense.utils.untrusted_file import read_json_file

FILE = "files.json"
_SCHEMA = 1


def save_file_hashes(run: RunDirectory, step: int) -> None:
    """Write `files.json`: the last step, and hashes of settings, classifier and last checkpoint.

    Args:
      run: the run directory, whose training has ended.
      step: last step of the training, which may have ended early; 0 for a defence that does not
        learn.

    Raises:
      WorkFailedError: a file cannot be read, or the disk is full or not writable.
    """
    multi_worker.run_on_chief(lambda: _save(run, step))


def has_file_hashes(run: RunDirectory) -> bool:
    """Return whether `files.json` exists for all workers; all must call this function."""
    return not multi_worker.any_worker(not (run.path / FILE).is_file())


def remove_file_hashes(run: RunDirectory) -> None:
    """Remove `files.json`, if there is one."""
    multi_worker.run_on_chief(lambda: (run.path / FILE).unlink(missing_ok=True))


def read_last_step(run: RunDirectory) -> int | None:
    """Return the last step of a training that has ended; None if `files.json` does not say it.

    Raises:
      UserError: `files.json` is damaged.
    """
    path = run.path / FILE
    return _read(path).get("step") if path.exists() else None


def require_original_files(run: RunDirectory) -> None:
    """Raise `UserError` if a file of the weights is not the one that the training wrote.

    A run without `files.json`, which 0.2.0 made or whose training has not ended, is not checked.
    """
    path = run.path / FILE
    if not path.exists():
        return
    content = _read(path)
    require(
        content["settings"] == _settings_hash(run),
        f"{run}: its weights were not trained with the settings in config.json ({FILE}): a file is of another run."
        " Copy the complete run directory again, or train it again with --overwrite.",
    )
    for name, stored in content["files"].items():
        file = run.path / name
        require(file.is_file(), f"{run}: {name} is missing. Copy the complete run directory again.")
        require(
            hash_path(file) == stored,
            f"{run}: {name} is not the file that the training wrote ({FILE}): it is damaged, or of another run. Copy"
            " the complete run directory again, or train it again with --overwrite.",
        )


def _save(run: RunDirectory, step: int) -> None:
    checkpoint = sorted((run.path / "checkpoints").glob(f"ckpt-{step}.*")) if step else []
    files = [path for path in (run.classifier_path, *checkpoint) if path.is_file()]
    try:
        hashes = {str(path.relative_to(run.path)): hash_path(path) for path in files}
        content = {
            "schema": _SCHEMA,
            "step": step,
            "settings": _settings_hash(run),
            "files": hashes,
        }
        write_text_file(run.path / FILE, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise WorkFailedError(f"{run}: {FILE} cannot be written ({error.strerror}).") from error


def _settings_hash(run: RunDirectory) -> str:
    """Return the hash of the settings as they are in `config.json`, under their own names."""
    settings = read_json_file(run.config_path)["settings"]
    return hash_parts([json.dumps(settings, sort_keys=True).encode()])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = typed_value(read_json_file(path), dict)
        files = typed_value(content.get("files"), dict)
        typed_value(content.get("step"), int | None)
        hashes = [content.get("settings"), *files.values()]
        if content.get("schema") == _SCHEMA and all(isinstance(each, str) for each in hashes):
            return content
    except (TypeMismatch, ValueError):
        pass
    raise UserError(f"{path}: damaged, or of a newer version. Copy the run directory again.")
