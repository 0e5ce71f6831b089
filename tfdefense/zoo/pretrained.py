"""A trained purifier from a few files: weights in float16, what they are weights of, and a model card."""

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.defenses import get_defense_class
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import UserError, require, unknown_name
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.package_versions import package_versions

SCHEMA = 1
MODELS = Path(__file__).parent / "models"
_CONFIG, _WEIGHTS, _CARD = "config.json", "weights.npz", "card.md"
_LARGEST_CLASSIFIER = 1_000_000  # Bytes; larger ones are not kept beside the purifier.


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A defence's trained networks, not yet before a classifier.

    Attributes:
      name: "<defense>/<dataset>/<classifier it was trained before>".
      defense: the registered name.
      hyperparameters: of the defence.
      image_shape: (H, W, C) of images that it takes.
      num_classes: of the classifier that it was trained before.
      seed: that it was trained with.
      weights: "<network>/<index>" -> float16 array.
      card: what it withstands, Markdown.
      classifier_path: the classifier that it was trained before; None where that was too large to come along.
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

    def classifier(self) -> FrozenClassifier:
        """The classifier that it was trained before.

        Raises:
          UserError: it did not come along, or its file is damaged.
        """
        require(
            self.classifier_path is not None,
            f"{self.name}: its classifier is too large to come along; train one by its name.",
        )
        model = RunDirectory(self.classifier_path.parent).load_classifier()
        return FrozenClassifier(model, self.image_shape, self.num_classes)

    def before(self, classifier: Any) -> Defense:
        """The defence before a classifier, to be judged, exported or called.

        Args:
          classifier: a Keras model, `FrozenClassifier` or callable from images to logits. It need not be the one that the
            purifier was trained before; the card says what was measured with that one.

        Raises:
          UserError: a classifier of other images.
        """
        if not isinstance(classifier, FrozenClassifier):
            classifier = FrozenClassifier(classifier, self.image_shape)
        require(
            classifier.image_shape == self.image_shape,
            f"classifier {classifier.name!r}: takes images of {classifier.image_shape};"
            f" {self.name} purifies {self.image_shape}.",
        )
        defense = get_defense_class(self.defense)(classifier, self.seed, **self.hyperparameters)
        for network_name, network in defense.networks().items():
            for index, weight in enumerate(network.weights):
                kept = self.weights.get(f"{network_name}/{index}")
                fits = kept is not None and kept.shape == tuple(weight.shape)
                require(fits, f"{self.name}: its weights are not those of a {self.defense}.")
                weight.assign(kept.astype(np.float32))
        defense.trained_with = self.name.rpartition("/")[2]
        return defense

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        """Images float32 [N, H, W, C] in [0, 1] -> the same, cleaned, whatever classifies them next."""
        return self.before(self._nothing).purify(images)

    def _nothing(self, images: tf.Tensor) -> tf.Tensor:
        return tf.zeros([tf.shape(images)[0], self.num_classes])


def names(models: Path = MODELS) -> list[str]:
    """The purifiers that there are."""
    return sorted(path.parent.relative_to(models).as_posix() for path in models.rglob(_CONFIG))


def load(name: str, models: Path = MODELS) -> Pretrained:
    """One of `names`.

    Args:
      name: "<defense>/<dataset>/<classifier>".
      models: where they lie.

    Raises:
      UserError: there is none of that name, or its files are damaged.
    """
    if name not in names(models):
        raise unknown_name("purifier", name, names(models))
    directory = models / name
    try:
        config = json.loads((directory / _CONFIG).read_text())
        if config["schema"] != SCHEMA:
            raise ValueError(f"schema {config['schema']}, {SCHEMA} needed")
        with np.load(directory / _WEIGHTS) as found:
            weights = {key: found[key] for key in found.files}
        card = (directory / _CARD).read_text()
        fields = {key: config[key] for key in ("defense", "hyperparameters", "num_classes", "seed")}
        shape = tuple(config["image_shape"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{directory}: damaged ({error}); install the package again.") from error
    beside = RunDirectory(directory).classifier_path
    return Pretrained(
        name=name,
        image_shape=shape,
        weights=weights,
        card=card,
        classifier_path=beside if beside.is_file() else None,
        **fields,
    )


def save_pretrained(defense: Defense, name: str, card: str, models: Path = MODELS) -> Path:
    """Writes the networks of a trained defence as `load` reads them, and its classifier where that is small.

    Args:
      defense: trained.
      name: "<defense>/<dataset>/<classifier>".
      card: Markdown.
      models: where to.
    """
    directory = models / name
    directory.mkdir(parents=True, exist_ok=True)
    weights = {
        f"{network_name}/{index}": np.asarray(weight, np.float16)
        for network_name, network in defense.networks().items()
        for index, weight in enumerate(network.weights)
    }
    np.savez_compressed(directory / _WEIGHTS, **weights)
    write_text_file(directory / _CARD, card)
    if isinstance(defense.classifier.model, keras.Model):
        beside = RunDirectory(directory)
        beside.save_classifier(defense.classifier.model)
        if beside.classifier_path.stat().st_size > _LARGEST_CLASSIFIER:
            beside.classifier_path.unlink()
    about = {
        "schema": SCHEMA,
        "defense": defense.name,
        "hyperparameters": dataclasses.asdict(defense.config),
        "image_shape": list(defense.classifier.image_shape),
        "num_classes": defense.classifier.num_classes,
        "seed": defense.seed,
        "made_with": package_versions(),
    }
    write_text_file(directory / _CONFIG, json.dumps(about, indent=2) + "\n")
    return directory
