"""Hashes that tell one model's results from those of another."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import keras

from tfdefense.errors import UserError
from tfdefense.utils.hashing import hash_parts


class Identifiable(Protocol):
    """Model that hands out what identifies it.

    Attributes:
      name: short name for error messages.
    """

    name: str

    def identity(self) -> tuple[list[Any], Mapping[str, Any]]:
        """Return settings that JSON can hold, and the networks by name."""
        ...


def model_fingerprint(model: Identifiable) -> str:
    """Return a hash of the architecture and weights of all networks that `model` runs.

    Raises:
      UserError: one of the networks is not a Keras model.
    """
    settings, networks = model.identity()
    parts = [json.dumps(settings).encode()]
    for name, network in sorted(networks.items()):
        if not hasattr(network, "get_weights"):
            raise UserError(
                f"classifier {model.name!r}: not a Keras model, so its adversarial images cannot be told"
                " from those of another model. Give a Keras model."
            )
        parts += [name.encode(), json.dumps(_nameless(network.get_config()), default=str).encode()]
        parts += network.get_weights()
    return hash_parts(parts)


def known_fingerprint(model: Identifiable) -> str | None:
    """Return `model_fingerprint(model)`, or None if the classifier is not a Keras model."""
    _, networks = model.identity()
    return model_fingerprint(model) if isinstance(networks["classifier"], keras.Model) else None


def _nameless(config: Any) -> Any:
    """Return a network's config without names, which Keras numbers in order of creation."""
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key != "name"}
    if isinstance(config, list | tuple):
        return [_nameless(value) for value in config]
    return config
