"""The run directory: all that a later command, or another machine, needs."""

import dataclasses
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import tfdefense
from tfdefense.errors import UserError, WorkFailed, require
from tfdefense.training.distribute import multi_worker
from tfdefense.utils.atomic_write import atomic_write
from tfdefense.utils.file_lock import lock_directory

SCHEMA = 1
_PACKAGES = ("tensorflow", "keras", "numpy", "cleverhans", "tensorflow-datasets")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What `config.json` holds.

    Attributes:
      kind: "classifier", "defense" or "attack".
      settings: all that the result depends on, by flag name; two runs with equal settings are the same.
      surroundings: what else a later command must know, and may find changed (`data_dir`, `steps`).
      made_with: versions of everything that took part.
    """

    kind: str
    settings: Mapping[str, Any]
    surroundings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    made_with: Mapping[str, str] = dataclasses.field(default_factory=lambda: versions())


def versions() -> dict[str, str]:
    """Name -> version of this package, Python and the packages that results depend on."""
    found = {"tfdefense": tfdefense.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        for name in (package, f"{package}-cpu"):
            try:
                found[package] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


class Run:
    """A run directory by its path, which need not exist yet.

    Args:
      path: the directory.
      flag: by which the user named it, for error messages.

    It holds `config.json`, `classifier.keras`, `checkpoints/`, `events/`, `report.json`,
    `report.md`, `gallery.png` and `export/<version>/`.
    """

    def __init__(self, path: str | Path, flag: str = "run") -> None:
        self.path = Path(path)
        self.flag = flag

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def classifier_path(self) -> Path:
        return self.path / "classifier.keras"

    def exists(self) -> bool:
        return self.config_path.is_file()

    def config(self) -> RunConfig:
        """Reads `config.json`.

        Raises:
          UserError: there is none, or it is not one of ours.
        """
        require(self.path.is_dir(), f"--{self.flag}={self.path}: no such run directory.")
        require(
            self.exists(), f"--{self.flag}={self.path}: not a run directory (no config.json in it)."
        )
        try:
            content = json.loads(self.config_path.read_text())
            require(
                content["schema"] == SCHEMA,
                f"--{self.flag}={self.path}: config.json has schema {content['schema']}, {SCHEMA} needed.",
            )
            fields = {field.name: content[field.name] for field in dataclasses.fields(RunConfig)}
            return RunConfig(**fields)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{self.config_path}: not a tfdefense configuration.") from error

    def require_kind(self, kind: str) -> RunConfig:
        """The configuration; raises `UserError` unless it is of a `kind` run."""
        config = self.config()
        require(
            config.kind == kind,
            f"--{self.flag}={self.path}: is a run of kind {config.kind}, one of kind {kind} needed.",
        )
        return config

    def start(self, config: RunConfig, overwrite: bool = False) -> None:
        """Makes the directory, or accepts one of the same settings; of several workers, the chief does.

        Raises:
          UserError: it is something else's directory, or another configuration's (the settings
            that differ are named), or it cannot be written; or another worker does not see it.
        """
        multi_worker.by_chief(lambda: self._start(config, overwrite))
        seen = not multi_worker.any_of(not self.exists())
        require(
            seen,
            f"--{self.flag}={self.path}: not seen by all workers. They need one directory, on a file system that they share.",
        )

    def _start(self, config: RunConfig, overwrite: bool) -> None:
        if self.path.exists() and not self.exists():
            inside = {path.name for path in self.path.iterdir()} if self.path.is_dir() else {""}
            empty = inside <= {".lock"}
            require(
                empty,
                f"--{self.flag}={self.path}: exists and is not a run directory (no config.json).",
            )
        if self.exists():
            self.lock()
            if not overwrite:
                self.require_same(config)
                return
            self.require_kind(config.kind)  # Refuses to delete what is not its like.
            shutil.rmtree(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock()
            write_text(
                self.config_path,
                json.dumps({"schema": SCHEMA, **dataclasses.asdict(config)}, indent=2) + "\n",
            )
        except OSError as error:
            raise UserError(
                f"--{self.flag}={self.path}: cannot be written ({error.strerror})."
            ) from error

    def lock(self) -> None:
        """Keeps other processes out until this one ends; raises `UserError` if one is in."""
        lock_directory(self.path, self.flag)

    def require_same(self, config: RunConfig, only: Collection[str] | None = None) -> None:
        """Raises `UserError` unless the run is of these settings, or of these of them: `only`."""
        theirs = self.config()
        here, there = _flat(config), _flat(theirs)
        compared = here.keys() | there.keys() if only is None else {"kind", *only}
        differing = sorted(key for key in compared if here.get(key) != there.get(key))
        afresh = ", or start afresh with --overwrite" if self.flag == "run" else ""
        listed = ", ".join(f"--{key} ({there.get(key)} there)" for key in differing)
        require(
            not differing,
            f"--{self.flag}={self.path}: holds a run with another {listed}. Name another --{self.flag}{afresh}.",
        )

    def save_classifier(self, model: Any) -> None:
        """Keeps the Keras `model` under attack beside the run.

        Raises:
          WorkFailed: the disk is full or not writable.
        """
        multi_worker.by_chief(lambda: self._save_classifier(model))

    def _save_classifier(self, model: Any) -> None:
        try:
            with atomic_write(self.classifier_path) as partial:
                model.save(partial)
        except OSError as error:
            raise WorkFailed(
                f"{self.classifier_path}: cannot be written ({error.strerror or error})."
            ) from error

    def load_classifier(self) -> Any:
        """The Keras model that `save_classifier` kept.

        Raises:
          UserError: it is missing or damaged.
        """
        import keras

        require(
            self.classifier_path.is_file(), f"--{self.flag}={self.path}: has no classifier.keras."
        )
        try:
            return keras.models.load_model(self.classifier_path, compile=False, safe_mode=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.classifier_path}: cannot be loaded: {reason}") from error


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_text(text)


def _flat(config: RunConfig) -> dict[str, Any]:
    """Settings by flag name, as JSON brings them back (tuples are lists there)."""
    plain = json.loads(json.dumps(dict(config.settings)))
    return {"kind": config.kind, **plain}
