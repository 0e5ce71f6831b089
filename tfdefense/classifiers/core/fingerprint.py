"""Hashes that tell one model's results from those of another.

A fingerprint depends on weights and structure. Names of layers do not count: Keras numbers those
that the user does not give ("dense", "dense_1") in the order of creation, so two equal models of one
process have different ones.

Version 0.2.0 wrote fingerprints of form 1: 32 hexadecimal digits, which changed with the names in
the graph of a Functional model. Those of form 2 start with "2-".
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import keras
import numpy as np

from tfdefense.errors import UserError
from tfdefense.training.nested_layers import collect_nested_layers
from tfdefense.utils.code_revision import code_revision
from tfdefense.utils.hashing import hash_parts

_FORM = "2-"
_FORM_1 = re.compile("[0-9a-f]{32}")
_LIBRARIES = ("keras", "tensorflow")


class Identifiable(Protocol):
    """Model that hands out what identifies it.

    Attributes:
      name: short name for error messages.
    """

    name: str

    def identity(self) -> tuple[list[Any], Mapping[str, Any]]:
        """Return settings that JSON can hold, and the networks by name."""
        ...

    def code(self) -> tuple[type, ...]:
        """Return the classes whose code the model runs, without those of the networks' layers."""
        ...


def model_fingerprint(model: Identifiable) -> str:
    """Return a hash of the architecture and weights of all networks that `model` runs.

    Raises:
      UserError: one of the networks is not a Keras model.
    """
    settings, networks = _checked_identity(model)
    parts: list[bytes | np.ndarray] = [json.dumps(settings).encode()]
    for name, network in sorted(networks.items()):
        parts += [name.encode(), _to_json(_structure(network)), *network.get_weights()]
    return _FORM + hash_parts(parts)


def hash_weights(model: Any) -> str | None:
    """Return a hash of a model's weights; None if it is not a Keras model.

    Unlike a fingerprint, it does not depend on how a version of Keras describes the architecture.
    """
    return hash_parts(model.get_weights()) if isinstance(model, keras.Model) else None


def known_fingerprint(model: Identifiable) -> str | None:
    """Return `model_fingerprint(model)`, or None if the classifier is not a Keras model."""
    return model_fingerprint(model) if _has_keras_classifier(model) else None


def is_fingerprint_of(stored: str | None, model: Identifiable) -> bool:
    """Return whether a stored fingerprint, of any form, can be that of `model`.

    None, the fingerprint of a classifier that is not a Keras model, can be that of any.
    """
    if stored is None or not _has_keras_classifier(model):
        return True
    return stored == (model_fingerprint if _is_new(stored) else _fingerprint_of_form_1)(model)


def fingerprints_agree(first: str | None, second: str | None) -> bool:
    """Return False if two stored fingerprints are of different models.

    None, and two fingerprints of different forms, are compatible with any.
    """
    if first is None or second is None:
        return True
    forms = {_is_new(first), _is_new(second)}
    old = _FORM_1.fullmatch(first) or _FORM_1.fullmatch(second)
    return first == second or bool(len(forms) == 2 and old)


def model_code_revision(model: Identifiable) -> str:
    """Return the revision of the code that `model` runs, without that of Keras and TensorFlow."""
    _, networks = _checked_identity(model)
    layers = {type(layer) for layer in collect_nested_layers(networks.values())}
    custom = {kind for kind in layers if kind.__module__.split(".")[0] not in _LIBRARIES}
    kinds = sorted({*model.code(), *custom}, key=lambda kind: (kind.__module__, kind.__qualname__))
    return code_revision(*kinds)


def _checked_identity(model: Identifiable) -> tuple[list[Any], Mapping[str, Any]]:
    settings, networks = model.identity()
    for network in networks.values():
        if not hasattr(network, "get_weights"):
            raise UserError(
                f"classifier {model.name!r}: not a Keras model, so its adversarial images cannot be told"
                " from those of another model. Give a Keras model."
            )
    return settings, networks


def _has_keras_classifier(model: Identifiable) -> bool:
    _, networks = model.identity()
    return isinstance(networks["classifier"], keras.Model)


def _is_new(fingerprint: str) -> bool:
    return fingerprint.startswith(_FORM)


def _structure(network: keras.Layer) -> list[Any]:
    """Return class and configuration of a network; without one, those of its layers."""
    kind = type(network).__qualname__
    try:
        return [kind, _without_names(network.get_config())]
    except NotImplementedError:  # A subclassed model whose arguments Keras cannot store.
        # Keras has no public list of the layers that are attributes of a layer.
        parts = network._flatten_layers(recursive=False, include_self=False)
        return [kind, [_structure(part) for part in parts]]


def _without_names(config: Any) -> Any:
    """Return a config without names of layers; in the graph of a model, a number replaces each."""
    if isinstance(config, list | tuple):
        return [_without_names(value) for value in config]
    if not isinstance(config, Mapping) or "DTypePolicy" in str(config.get("class_name")):
        return config
    layers = config.get("layers")
    numbers = _number_layers(layers) if isinstance(layers, list | tuple) else {}
    found = {}
    for key, value in config.items():
        if key == "layers" and numbers:
            value = [_renumber_history(layer, numbers) for layer in value]
        elif key in ("input_layers", "output_layers"):
            value = _renumber(value, numbers)
        if key != "name":
            found[key] = _without_names(value)
    return found


def _number_layers(layers: Iterable[Any]) -> dict[str, int]:
    """Return name -> position of the layers in the config of a model."""
    named = [layer for layer in layers if isinstance(layer, Mapping)]
    names = [layer.get("name", layer.get("config", {}).get("name")) for layer in named]
    return {name: number for number, name in enumerate(names) if isinstance(name, str)}


def _renumber_history(layer: Any, numbers: Mapping[str, int]) -> Any:
    """Return the config of a layer of a graph with numbers for the layers that feed it."""
    if not isinstance(layer, Mapping) or "inbound_nodes" not in layer:
        return layer

    def visit(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [visit(each) for each in value]
        if isinstance(value, Mapping):
            return {
                key: _renumber(each, numbers) if key == "keras_history" else visit(each)
                for key, each in value.items()
            }
        return value

    return {**layer, "inbound_nodes": visit(layer["inbound_nodes"])}


def _renumber(value: Any, numbers: Mapping[str, int]) -> Any:
    """Return nested lists with the number of each layer in place of its name."""
    if isinstance(value, list | tuple):
        return [_renumber(each, numbers) for each in value]
    if isinstance(value, Mapping):
        return {key: _renumber(each, numbers) for key, each in value.items()}
    return f"layer {numbers[value]}" if isinstance(value, str) and value in numbers else value


def _to_json(structure: Any) -> bytes:
    def plain(value: Any) -> Any:
        # The text of an object may have its address, which differs between processes.
        return value.tolist() if isinstance(value, np.ndarray) else type(value).__qualname__

    return json.dumps(structure, default=plain).encode()


def _fingerprint_of_form_1(model: Identifiable) -> str:
    """Return the fingerprint that version 0.2.0 stored."""
    settings, networks = _checked_identity(model)
    parts = [json.dumps(settings).encode()]
    for name, network in sorted(networks.items()):
        config = json.dumps(_without_key_name(network.get_config()), default=str)
        parts += [name.encode(), config.encode()]
        parts += network.get_weights()
    return hash_parts(parts)


def _without_key_name(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_key_name(value) for key, value in config.items() if key != "name"}
    if isinstance(config, list | tuple):
        return [_without_key_name(value) for value in config]
    return config
