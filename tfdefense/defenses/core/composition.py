"""Defences in sequence: each one purifies the images that the one before it returned."""

import functools
import types
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdefense.attacks import default_epsilon
from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.augmenting_defense import Arrays
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.generator_defense import GeneratorDefense
from tfdefense.defenses.core.hyperparameters import stored_hyperparameters
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.core.pair_trained_purifier import PairTrainedPurifier
from tfdefense.defenses.core.purifier_validator import PurifierValidator
from tfdefense.defenses.core.randomized_defense import RandomizedDefense
from tfdefense.errors import require
from tfdefense.training.replica import Replica
from tfdefense.training.task import ImageGrids, Scalars, Validate


class Composition(RandomizedDefense):
    """Several defences in sequence in front of one classifier; randomised if one of them is.

    Args:
      parts: defences of the same classifier, in order. If the last one has a classifier of its own, as
        adversarial training has, that classifier decides.
      config: hyperparameters for `settings`; None for those of all parts, named "part_name".

    Attributes:
      parts: the defences.

    Raises:
      UserError: fewer than two parts, parts for images of different shapes, or an order that
        `check_order` rejects.
    """

    def __init__(self, parts: Sequence[Defense], config: Any = None) -> None:
        check_order([type(part) for part in parts])
        shapes = {part.name: part.classifier.image_shape for part in parts}
        require(
            len(set(shapes.values())) == 1,
            f"compose: parts for images of different shapes given: {shapes}.",
        )
        first, last = parts[0], parts[-1]
        self.parts = list(parts)
        self.name = "+".join(part.name for part in parts)
        self.classifier = first.classifier
        self.seed = first.seed
        self.trained_with = last.trained_with
        self.replaces_classifier = last.replaces_classifier
        hyperparameters = _merge({part.name: stored_hyperparameters(part.config) for part in parts})
        self.config = types.SimpleNamespace(**hyperparameters) if config is None else config
        self.detects = first.detects
        self.is_randomized = any(part.is_randomized for part in parts)
        self.batch_size = min(part.batch_size for part in parts)
        self.budget = EvaluationBudget.smallest([part.budget for part in parts])

    def purify(self, images: tf.Tensor, draw: int | tf.Tensor | None = None) -> tf.Tensor:
        return purify_in_order(self.parts, images, draw)

    def detector_score(self, images: tf.Tensor) -> tf.Tensor:
        return self.parts[0].detector_score(images)

    def networks(self) -> dict[str, keras.Layer]:
        return _merge({part.name: part.networks() for part in self.parts})

    def deciding_classifier(self, classifier: Any = None) -> FrozenClassifier:
        return self.parts[-1].deciding_classifier(classifier)

    def code(self) -> tuple[type, ...]:
        return (Composition, *(kind for part in self.parts for kind in part.code()))


class LearnedComposition(Composition, LearnedDefense):
    """Composition with parts that learn, all in one training.

    A `GeneratorDefense` learns from images that have passed the parts before it; other parts learn
    from the images as they are.

    Attributes:
      learned: the parts that learn.
    """

    def __init__(self, parts: Sequence[Defense], config: Any = None) -> None:
        super().__init__(parts, config)
        self.learned = [part for part in parts if isinstance(part, LearnedDefense)]
        self.needs_validation = any(part.needs_validation for part in self.learned)
        for position, part in enumerate(parts):
            if isinstance(part, GeneratorDefense) and position:
                part.preprocess = functools.partial(purify_in_order, parts[:position])

    @property
    def should_stop(self) -> bool:  # type: ignore[override]
        """True if a part should stop: the parts are trained together."""
        return any(part.should_stop for part in self.learned)

    def prepare(self, steps: int) -> None:
        for part in self.learned:
            part.prepare(steps)

    def finish(self) -> None:
        for part in self.learned:
            part.finish()

    def checkpoint_items(self) -> dict[str, Any]:
        return _merge({part.name: part.checkpoint_items() for part in self.learned})

    def require_augmentable(self, split: Split) -> None:
        for part in self.learned:
            part.require_augmentable(split)

    def begin_augmentation(self, image_count: int, seed: int) -> Arrays:
        arrays: Arrays = {}
        for part in self.learned:
            arrays |= part.begin_augmentation(image_count, seed)
        return arrays

    def training_arrays(self, train: Split, pairs: Sequence[AdversarialDataset]) -> Arrays:
        pair_trained = [part for part in self.learned if isinstance(part, PairTrainedPurifier)]
        require(
            bool(pair_trained) or not pairs,
            f"--pairs: no part of --defense={self.name} learns from stored examples. Leave --pairs"
            " out.",
        )
        arrays: Arrays = {}
        for part in self.learned:
            arrays |= part.training_arrays(train, pairs if part in pair_trained else ())
        return arrays

    def use_pair_weights(self, weights: Sequence[float] | None) -> None:
        for part in self.learned:
            part.use_pair_weights(weights)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        return _merge({part.name: part.train_step(batch, replica) for part in self.learned})

    def make_validator(self, validation: Split) -> Validate:
        """Return a validation of the sequence, and of the parts that need validation."""
        parts: dict[str, Validate] = {}
        for part in self.learned:
            validate_part = part.make_validator(validation) if part.needs_validation else None
            if validate_part is not None:
                parts[part.name] = validate_part
        validate_all = PurifierValidator(
            self, validation, (default_epsilon(validation.image_shape),)
        )

        def validate() -> tuple[Scalars, ImageGrids]:
            # The parts calibrate their detectors first.
            results = {name: validate_part() for name, validate_part in parts.items()}
            scalars, images = validate_all()
            return (
                {**scalars, **_merge({name: result[0] for name, result in results.items()})},
                {**images, **_merge({name: result[1] for name, result in results.items()})},
            )

        return validate

    def watch_validation(self, validate: Validate, images: int, prefix: str = "") -> Validate:
        for part in self.learned:
            validate = part.watch_validation(validate, images, f"{prefix}{part.name}_")
        return validate


def check_order(kinds: Sequence[type[Defense]]) -> None:
    """Raise `UserError` unless defences of these classes can be applied in this order."""
    names = [kind.name for kind in kinds]
    name = "+".join(names)
    require(len(kinds) >= 2, f"compose: {len(kinds)} defences given, at least 2 are needed.")
    require(len(set(names)) == len(names), f"--defense={name}: each defence is allowed only once.")
    for kind in kinds:
        require(
            not kind.certifies,
            f"--defense={name}: {kind.name} certifies its own decisions and cannot be combined.",
        )
    for kind in kinds[1:]:
        require(
            not kind.detects,
            f"--defense={name}: {kind.name} refuses unpurified images, so it must come first.",
        )
    for kind in kinds[:-1]:
        require(
            not kind.replaces_classifier,
            f"--defense={name}: {kind.name} replaces the classifier, so it must come last.",
        )


def purify_in_order(
    parts: Sequence[Defense], images: tf.Tensor, draw: int | tf.Tensor | None = None
) -> tf.Tensor:
    """Return images float32 [N, H, W, C] after all `parts`; randomised ones use `draw`."""
    for part in parts:
        draws = {"draw": draw} if part.is_randomized else {}
        images = part.purify(images, **draws)
    return images


def _merge(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return one dictionary: groups["part"]["name"] becomes "part_name"."""
    return {
        f"{group}_{name}": value
        for group, values in groups.items()
        for name, value in values.items()
    }
