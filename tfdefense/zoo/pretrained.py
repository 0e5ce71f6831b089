"""Trained purifiers as a few small files: float16 weights, their configuration, and a model card."""

import dataclasses
import json
import textwrap
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.defenses import get_defense_class
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.hyperparameters import stored_hyperparameters
from tfdefense.errors import UserError, require, unknown_name
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.npz_archive import write_npz
from tfdefense.utils.package_versions import package_versions

SCHEMA = 1
MODELS = Path(__file__).parent / "models"
_CONFIG, _WEIGHTS, _CARD = "config.json", "weights.npz", "card.md"
# Size in bytes up to which the classifier is stored with the purifier.
_LARGEST_CLASSIFIER = 2_000_000
_COLUMNS = 100
# What reading a damaged file raises; RuntimeError is for an unknown compression or encryption.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Trained networks of a defence, not yet in front of a classifier.

    Attributes:
      name: "<defense>/<dataset>/<classifier that it was trained with>".
      defense: registered name of the defence.
      hyperparameters: hyperparameters of the defence.
      image_shape: (H, W, C) of the images.
      num_classes: number of classes of the classifier that it was trained with.
      seed: seed of the defence.
      weights: "<network>/<index>" -> float16 array.
      card: measured accuracy, as Markdown.
      classifier_path: file of the classifier that it was trained with; None if that is not included.
      unreliable: why the accuracy on the card is not to be relied on, such as a stronger attack that
        lowered it; "" if it is.
    """

    name: str
    defense: str
    hyperparameters: Mapping[str, Any]
    image_shape: tuple[int, int, int]
    num_classes: int
    seed: int
    weights: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    card: str = dataclasses.field(repr=False)
    classifier_path: Path | None = None
    unreliable: str = ""

    def classifier(self) -> FrozenClassifier:
        """Load the classifier that the purifier was trained with.

        Raises:
          UserError: it is not included, or its file is damaged.
        """
        if self.classifier_path is None:
            _, dataset, name = self.name.split("/")
            raise UserError(
                f"{self.name}: its classifier is too large to be included. Train one with bin/train"
                f" --dataset={dataset} --classifier={name}, and give it: --classifier={name}, or"
                " before(classifier) in Python."
            )
        model = RunDirectory(self.classifier_path.parent).load_classifier()
        classifier = FrozenClassifier(model, self.image_shape, self.num_classes)
        classifier.name = self.name.rpartition("/")[2]  # The file's own name is "classifier".
        return classifier

    def before(self, classifier: Any) -> Defense:
        """Return the trained defence in front of a classifier.

        Args:
          classifier: a Keras model, `FrozenClassifier` or callable from images to logits. It may be
            another one than the purifier was trained with; the card is about that one.

        Raises:
          UserError: the classifier takes images of another shape, or the weights are damaged.
        """
        if not isinstance(classifier, FrozenClassifier):
            classifier = FrozenClassifier(classifier, self.image_shape)
        require(
            classifier.image_shape == self.image_shape,
            f"classifier {classifier.name!r}: takes images of {classifier.image_shape}, but"
            f" {self.name} purifies {self.image_shape}.",
        )
        defense = get_defense_class(self.defense)(classifier, self.seed, **self.hyperparameters)
        for network_name, network in defense.networks().items():
            for index, weight in enumerate(network.weights):
                stored = self.weights.get(f"{network_name}/{index}")
                if stored is None or stored.shape != tuple(weight.shape):
                    raise UserError(
                        f"{self.name}: its weights are not those of a {self.defense}. Install the"
                        " package again."
                    )
                weight.assign(stored.astype(np.float32))
        defense.trained_with = self.name.rpartition("/")[2]
        return defense

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        """Return purified images, for any classifier.

        Args:
          images: float32 [N, H, W, C] in [0, 1].
        """
        return self.before(self._zero_logits).purify(images)

    def _zero_logits(self, images: tf.Tensor) -> tf.Tensor:
        """Return the logits of a classifier that is not used."""
        return tf.zeros([tf.shape(images)[0], self.num_classes])


def list_pretrained(models: Path = MODELS) -> list[str]:
    """Return the names of all trained purifiers in a directory."""
    return sorted(path.parent.relative_to(models).as_posix() for path in models.rglob(_CONFIG))


def load_pretrained(name: str, models: Path = MODELS) -> Pretrained:
    """Load a trained purifier.

    A warning tells why, if the card of this purifier is unreliable.

    Args:
      name: "<defense>/<dataset>/<classifier>", one of `list_pretrained`.
      models: directory of the purifiers.

    Raises:
      UserError: an unknown name, or damaged files.
    """
    if name not in list_pretrained(models):
        raise unknown_name("purifier", name, list_pretrained(models))
    directory = models / name
    try:
        config = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
        if config["schema"] != SCHEMA:
            raise ValueError(f"schema {config['schema']} given, {SCHEMA} is needed")
        with np.load(directory / _WEIGHTS) as file:
            weights = {key: file[key] for key in file.files}
        card = (directory / _CARD).read_text(encoding="utf-8")
        unreliable = str(config.get("unreliable", ""))
        fields = {key: config[key] for key in ("defense", "hyperparameters", "num_classes", "seed")}
        image_shape = tuple(config["image_shape"])
    except _DAMAGE as error:
        raise UserError(f"{directory}: damaged ({error}). Install the package again.") from error
    if unreliable:
        warnings.warn(f"{name}: its card is unreliable: {unreliable}", stacklevel=2)
    classifier_path = RunDirectory(directory).classifier_path
    return Pretrained(
        name=name,
        image_shape=image_shape,
        weights=weights,
        card=card,
        classifier_path=classifier_path if classifier_path.is_file() else None,
        unreliable=unreliable,
        **fields,
    )


def mark_unreliable(name: str, reason: str, models: Path = MODELS) -> None:
    """Say in configuration and card of a purifier why its accuracy is not to be relied on.

    Args:
      name: "<defense>/<dataset>/<classifier>", one of `list_pretrained`.
      reason: one sentence, such as "auto_attack of version 0.3 leaves 88.0 % (n = 1,000).".
      models: directory of the purifiers.

    Raises:
      UserError: an unknown name, damaged files, a purifier that is marked already, or no reason.
    """
    require(bool(reason.strip()), "REASON: empty. Say which figure is wrong, and by what.")
    pretrained = load_pretrained(name, models)
    require(not pretrained.unreliable, f"{name}: is marked already: {pretrained.unreliable}")
    title, _, rest = pretrained.card.partition("\n")
    mark = textwrap.fill(f"**Unreliable.** {reason}", _COLUMNS, break_on_hyphens=False)
    write_text_file(models / name / _CARD, f"{title}\n\n{mark}\n{rest}")
    config = json.loads((models / name / _CONFIG).read_text(encoding="utf-8"))
    _write_config(models / name, {**config, "unreliable": reason})


def save_pretrained(defense: Defense, name: str, card: str, models: Path = MODELS) -> Path:
    """Write a trained purifier as `load_pretrained` reads it, with its classifier if that is small.

    Args:
      defense: trained defence.
      name: "<defense>/<dataset>/<classifier>".
      card: Markdown.
      models: directory of the purifiers.

    Returns:
      The directory of this purifier.
    """
    directory = models / name
    directory.mkdir(parents=True, exist_ok=True)
    weights = {
        f"{network_name}/{index}": np.asarray(weight, np.float16)
        for network_name, network in defense.networks().items()
        for index, weight in enumerate(network.weights)
    }
    # bzip2 makes float16 weights 2 % smaller than deflate.
    write_npz(directory / _WEIGHTS, weights, zipfile.ZIP_BZIP2)
    write_text_file(directory / _CARD, card)
    if isinstance(defense.classifier.model, keras.Model):
        run = RunDirectory(directory)
        run.save_classifier(defense.classifier.model)
        if run.classifier_path.stat().st_size > _LARGEST_CLASSIFIER:
            run.classifier_path.unlink()
    config = {
        "schema": SCHEMA,
        "defense": defense.name,
        "hyperparameters": stored_hyperparameters(defense.config),
        "image_shape": list(defense.classifier.image_shape),
        "num_classes": defense.classifier.num_classes,
        "seed": defense.seed,
        "made_with": package_versions(),
    }
    _write_config(directory, config)
    return directory


def _write_config(directory: Path, config: Mapping[str, Any]) -> None:
    write_text_file(directory / _CONFIG, json.dumps(config, indent=2) + "\n")
