"""Hashes of a run's weight files, by which a later command sees that a file was exchanged or cut."""

import json
import os
import re
from pathlib import Path
from typing import Any

from tfdefense.errors import UserError, WorkFailedError, cut_text, require
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.hashing import hash_path, hash_settings
from tfdefense.utils.json_types import TypeMismatch, typed_value
from tfdefense.utils.real_path import real_path
from tfdefense.utils.untrusted_file import read_json_file, require_modest_file

_SCHEMA = 1
_NAMES = re.compile(
    r"classifier\.keras|checkpoints/ckpt-\d{1,18}\.(index|data-\d{5}-of-\d{5})", re.A
)
_REMEDY = "Copy the complete run directory again, or train it again with bin/train and --overwrite."


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
    return not multi_worker.any_worker(not run.hashes_path.is_file())


def read_last_step(run: RunDirectory) -> int | None:
    """Return the last step of a training that has ended; None if `files.json` does not say it.

    Raises:
      UserError: `files.json` is damaged.
    """
    path = run.hashes_path
    return _read(path).get("step") if path.exists() else None


def require_original_files(run: RunDirectory) -> None:
    """Raise `UserError` if a file of the weights is not the one that the training wrote.

    A run without `files.json`, which 0.2.0 made or whose training has not ended, is not checked.
    """
    path = run.hashes_path
    if not path.exists():
        return
    content = _read(path)
    require(
        content["settings"] == _settings_hash(run),
        f"{run}: its weights were not trained with the settings in config.json ({path.name}): a file"
        f" is of another run. {_REMEDY}",
    )
    for name, stored in content["files"].items():
        file, place = run.path / name, f"{run}: {name}"
        require(os.path.lexists(file), f"{place} is missing. {_REMEDY}")
        require(_is_inside(file, run), f"{place}: a link to another place. {_REMEDY}")
        require_modest_file(file, place)
        require(
            hash_path(file) == stored,
            f"{place} is not the file that the training wrote ({path.name}): it is damaged, or of"
            f" another run. {_REMEDY}",
        )


def _save(run: RunDirectory, step: int) -> None:
    checkpoint = sorted((run.path / "checkpoints").glob(f"ckpt-{step}.*")) if step else []
    named = {str(path.relative_to(run.path)): path for path in (run.classifier_path, *checkpoint)}
    try:
        hashes = {
            name: hash_path(path)
            for name, path in named.items()
            if _NAMES.fullmatch(name) and path.is_file() and _is_inside(path, run)
        }
        content = {
            "schema": _SCHEMA,
            "step": step,
            "settings": _settings_hash(run),
            "files": hashes,
        }
        write_text_file(run.hashes_path, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise WorkFailedError(
            f"{run}: {run.hashes_path.name} cannot be written ({error.strerror})."
        ) from error


def _is_inside(file: Path, run: RunDirectory) -> bool:
    """Return whether a file of a run is in its directory, also after links are followed."""
    return real_path(file).is_relative_to(real_path(run.path))


def _settings_hash(run: RunDirectory) -> str:
    """Return the hash of the settings as they are in `config.json`, under their own names."""
    settings = read_json_file(run.config_path)["settings"]
    return hash_settings(settings)


def _read(path: Path) -> dict[str, Any]:
    content = _parse(path)
    strange = next((name for name in content["files"] if not _NAMES.fullmatch(name)), None)
    require(
        strange is None,
        f"{path}: names {cut_text(str(strange))!r}, which training does not write. Copy the run"
        " directory again.",
    )
    return content


def _parse(path: Path) -> dict[str, Any]:
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
