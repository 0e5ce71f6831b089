"""`config.json` of a run directory: its content, read and written, with types checked."""

import dataclasses
import json
import math
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tfdefense.data.core.dataset import have_same_form
from tfdefense.errors import UserError, require
from tfdefense.training.setting_texts import format_flag, format_setting, shorten_json
from tfdefense.utils.json_types import TypeMismatch, typed_value
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.untrusted_file import parse_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigType = TypeVar("ConfigType", bound="DataclassInstance")

SCHEMA = 1
_REQUIRED = object()


@dataclasses.dataclass(frozen=True)
class StoredConfig:
    """Content of `config.json`.

    In the file, `metadata` has the key "surroundings" and `versions` the key "made_with".

    Attributes:
      kind: "classifier", "defense", "attack" or "certificate".
      settings: flag name -> value of everything that the result depends on. Runs with equal settings
        are the same.
      metadata: other facts for later commands, such as `data_dir` and `steps`. They may differ
        between runs that are the same.
      versions: package name -> version.
      path: the file that it was read from, for error messages; None if it was not read.
      flag_names: settings key -> flag, where they differ, for error messages.
    """

    kind: str
    settings: Mapping[str, Any]
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=package_versions)
    path: Path | None = dataclasses.field(default=None, compare=False)
    flag_names: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)

    def to_json(self) -> str:
        """Return the text of `config.json`.

        Raises:
          UserError: a setting is not finite, which JSON cannot express.
        """
        for name, value in self.settings.items():
            numbers = value if isinstance(value, list | tuple) else [value]
            require(
                all(math.isfinite(number) for number in numbers if isinstance(number, float)),
                f"--{self.flag_names.get(name, name)}={value}: a finite number is needed.",
            )
        content = {
            "schema": SCHEMA,
            "kind": self.kind,
            "settings": dict(self.settings),
            "surroundings": dict(self.metadata),
            "made_with": dict(self.versions),
        }
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> "StoredConfig":
        """Read the text of the `config.json` at `path`.

        Raises:
          UserError: it is not JSON, has another schema, or lacks a key or has a wrong type in it.
        """
        try:
            content = parse_json(text)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}: not valid JSON (line {error.lineno}: {error.msg})."
            ) from error
        except ValueError as error:
            raise UserError(f"{path}: not valid ({error}).") from error
        require(
            isinstance(content, dict),
            f"{path}: {shorten_json(content)} found; an object is needed.",
        )
        schema = content.get("schema")
        require(
            schema == SCHEMA and not isinstance(schema, bool),
            f"{path}: schema is {shorten_json(schema)}; {SCHEMA} is needed, which tfdefense writes.",
        )
        types = {"kind": str, "settings": dict, "surroundings": dict, "made_with": dict}
        values = [
            _checked(content, key, kind, _REQUIRED, f"{path}: ") for key, kind in types.items()
        ]
        kind, settings, metadata, versions = values
        return cls(kind, _translate_old_settings(kind, settings), metadata, versions, path)

    @property
    def file(self) -> str:
        """The file, for error messages."""
        return str(self.path or "config.json")

    def located(self, error: UserError) -> UserError:
        """Return an error about a value of this file with the name of the file in front."""
        text = str(error)
        return error if text.startswith(self.file) else UserError(f"{self.file}: {text}")

    def setting(self, name: str, annotation: Any, default: Any = _REQUIRED) -> Any:
        """Return one of the settings, checked to be of the type `annotation`.

        Args:
          name: its key.
          annotation: `int`, `float`, `str`, `bool`, `tuple[X, ...]`, or one of them with `| None`.
            JSON lists become tuples.
          default: the value if the key is missing; without a default, a missing key is an error.

        Raises:
          UserError: it is missing or has another type; the message names file, key and type.
        """
        return _checked(self.settings, name, annotation, default, f"{self.file}: settings.")

    def metadata_value(self, name: str, annotation: Any, default: Any = _REQUIRED) -> Any:
        """Return one of the `metadata`, checked as `setting` does."""
        return _checked(self.metadata, name, annotation, default, f"{self.file}: surroundings.")

    def read_dataclass(self, config_type: type[ConfigType]) -> ConfigType:
        """Return a dataclass from the settings that have the names of its fields.

        A field whose setting is missing has its default.

        Raises:
          UserError: a setting has another type, or the dataclass does not accept it.
        """
        types = typing.get_type_hints(config_type)
        values = {}
        for field in dataclasses.fields(config_type):
            # None may be the default of a field of another type.
            annotation = types[field.name] | None if field.default is None else types[field.name]
            if field.name in self.settings:
                values[field.name] = self.setting(field.name, annotation)
        try:
            return config_type(**values)
        except UserError as error:
            raise self.located(error) from error

    def differences(self, other: "StoredConfig", only: Collection[str] | None = None) -> list[str]:
        """Return a phrase for each setting in which this, stored, differs from `other`, asked for.

        The same images at two paths are no difference.

        Args:
          other: the configuration asked for.
          only: the names to compare; None for all.
        """
        stored = {"kind": self.kind, **_plain(self.settings)}
        asked = {"kind": other.kind, **_plain(other.settings)}
        compared = stored.keys() | asked.keys() if only is None else {"kind", *only}
        if self._has_same_images(other):
            compared = compared - {"dataset"}
        return [
            f"{format_flag(other.flag_names.get(name, name), stored.get(name))}"
            f" ({format_setting(asked.get(name))} now)"
            for name in sorted(compared)
            if stored.get(name) != asked.get(name)
        ]

    def require_same_images(self, other: "StoredConfig", run: str, remedy: str) -> None:
        """Raise `UserError` if both have a hash of images, as `sampled_fingerprint`, and it differs.

        Runs of earlier versions have none.

        Args:
          other: the configuration asked for.
          run: the run directory, for the message.
          remedy: what to do, for the message.
        """
        require(
            self._may_share("images", other),
            f"{run}: was trained on other images: those of {other.settings.get('dataset')} have changed"
            f" since. {remedy}",
        )

    def require_same_classifier(self, other: "StoredConfig", run: str, remedy: str) -> None:
        """Raise `UserError` if both have a hash of the classifier's weights, and it differs.

        Only runs of `fit(run=...)` with a Keras classifier have one; others name a file or a run.

        Args:
          other: the configuration asked for.
          run: the run directory, for the message.
          remedy: what to do, for the message.
        """
        require(
            self._may_share("classifier_weights", other),
            f"{run}: was trained in front of a classifier with other weights. {remedy}",
        )

    def _has_same_images(self, other: "StoredConfig") -> bool:
        """Return whether both read the same images, by their hash, from one kind of source."""
        return (
            have_same_form(*(str(config.settings.get("dataset")) for config in (self, other)))
            and self.metadata.get("images") is not None
            and self.metadata["images"] == other.metadata.get("images")
        )

    def _may_share(self, name: str, other: "StoredConfig") -> bool:
        """Return whether both have the same hash in their metadata, or one has none."""
        stored, asked = (config.metadata.get(name) for config in (self, other))
        return stored is None or asked is None or stored == asked


def _checked(
    content: Mapping[str, Any],
    key: str,
    annotation: Any,
    default: Any,
    place: str,
) -> Any:
    """Return `content[key]` as `annotation`; `place` comes before the key in error messages."""
    if key not in content and default is not _REQUIRED:
        return default
    try:
        if key not in content:
            raise TypeMismatch(annotation)
        return typed_value(content[key], annotation)
    except TypeMismatch as error:
        state = f"is {shorten_json(content[key])}" if key in content else "is missing"
        raise UserError(f"{place}{key} {state}; {error} is needed.") from error


def _translate_old_settings(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings under the names that they have now."""
    if kind == "classifier" and settings.get("augmentation") == "shift_flip":  # Until 0.2.0.
        return {**settings, "augmentation": "shift", "mirror": True}
    return settings


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON returns them (tuples are lists there)."""
    return json.loads(json.dumps(dict(settings)))
