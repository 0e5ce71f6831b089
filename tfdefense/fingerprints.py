"""Hashes that tell one model's, or one dataset's, results from another's."""

import itertools
import json
from typing import Any

import keras

from tfdefense.classifiers.frozen import FrozenClassifier
from tfdefense.data.dataset import Split
from tfdefense.defenses.base import DefendedClassifier
from tfdefense.errors import UserError
from tfdefense.hashing import hashed

_ROWS = 1_000


def data_fingerprint(split: Split) -> str:
    """A hash of the images and labels, wherever they lie."""
    images = split.images
    head = f"{images.dtype}{images.shape}".encode()
    parts = (images[start : start + _ROWS].tobytes() for start in range(0, len(split), _ROWS))
    return hashed(itertools.chain([head], parts, [split.labels]))


def model_fingerprint(model: FrozenClassifier | DefendedClassifier) -> str:
    """A hash of architecture and weights of all networks that `model` runs.

    Raises:
      UserError: there is something in it that is not a Keras model.
    """
    networks = {}
    if isinstance(model, DefendedClassifier):
        defense = model.defense
        networks = defense.networks()
        described = [defense.name, repr(defense.config), defense.seed]
        model = model.classifier
    else:
        described = []
    networks = {**networks, "classifier": model.model}
    parts = [json.dumps(described).encode()]
    for name, network in sorted(networks.items()):
        if not hasattr(network, "get_weights"):
            raise UserError(
                f"classifier {model.name!r}: a Keras model needed, to tell its adversarial examples"
                " from another's."
            )
        parts += [name.encode(), json.dumps(_nameless(network.get_config()), default=str).encode()]
        parts += network.get_weights()
    return hashed(parts)


def known_fingerprint(model: FrozenClassifier | DefendedClassifier) -> str | None:
    """The same, or None of a classifier that is no Keras model."""
    classifier = getattr(model, "classifier", model)
    return model_fingerprint(model) if isinstance(classifier.model, keras.Model) else None


def _nameless(config: Any) -> Any:
    """A network's config without names: Keras numbers those in the order in which a process builds things."""
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key != "name"}
    if isinstance(config, list | tuple):
        return [_nameless(value) for value in config]
    return config
