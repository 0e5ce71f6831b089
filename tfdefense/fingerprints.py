"""Hashes that tell one model's, or one dataset's, results from another's."""

import hashlib
import json

import numpy as np

from tfdefense.classifiers.frozen import FrozenClassifier
from tfdefense.data.dataset import Split
from tfdefense.defenses.base import DefendedClassifier
from tfdefense.errors import UserError


def data_fingerprint(split: Split) -> str:
    """A hash of the images and labels."""
    return hashed(split.images, split.labels)


def model_fingerprint(model: FrozenClassifier | DefendedClassifier) -> str:
    """A hash of architecture and weights of all networks that `model` runs.

    Raises:
      UserError: there is something in it that is not a Keras model.
    """
    networks = {}
    if isinstance(model, DefendedClassifier):
        networks = model.defense.networks()
        described = [model.defense.name, repr(model.defense.config)]
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
        parts += [name.encode(), json.dumps(network.get_config(), default=str).encode()]
        parts += network.get_weights()
    return hashed(*parts)


def hashed(*parts: bytes | np.ndarray) -> str:
    """A hash of bytes, and of arrays with their dtypes and shapes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            part = np.ascontiguousarray(part)
        digest.update(part)
    return digest.hexdigest()
