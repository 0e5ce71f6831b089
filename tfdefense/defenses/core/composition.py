"""Defences in sequence: each cleans what the one before it left."""

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfdefense.attacks import default_epsilon
from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.defenses.core.defense import DefendedClassifier, Defense, hyperparameter
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.core.trained_purifier import GeneratorDefense, PairTrainedPurifier, PurifierValidator
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import require
from tfdefense.training.replica import Replica


class Composition(Defense):
    """Several defences before one classifier; images pass through them in order.

    Args:
      parts: before the same classifier. If the last one has a classifier of its own, as adversarial training
        has, that is the one that decides.
      config: what `settings` tells; None for that of the parts, as "part_name".

    Attributes:
      parts: as given.

    Raises:
      UserError: fewer than two parts, two for images of different shapes, one that detects anywhere but in
        front, one that replaces the classifier anywhere but at the end.
    """

    def __init__(self, parts: Sequence[Defense], config: Any = None) -> None:
        check_order([type(part) for part in parts])
        shapes = {part.name: part.classifier.image_shape for part in parts}
        require(
            len(set(shapes.values())) == 1,
            f"compose: parts for images of different shapes given: {shapes}.",
        )
        self.parts = list(parts)
        self.name = "+".join(part.name for part in parts)
        self.classifier = parts[0].classifier
        self.seed = parts[0].seed
        self.trained_with = parts[-1].trained_with
        self.replaces_classifier = parts[-1].replaces_classifier
        of_parts = _together({part.name: vars(part.config) for part in parts})
        self.config = types.SimpleNamespace(**of_parts) if config is None else config
        self.detects = parts[0].detects
        self.batch_size = min(part.batch_size for part in parts)
        judged = [part.judged_images for part in parts if part.judged_images is not None]
        self.judged_images = min(judged, default=None)
        for name in ("white_box_images", "checked_images", "checked_steps", "random_draws"):
            setattr(self, name, min(getattr(part, name) for part in parts))

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return purify_in_order(self.parts, images)

    def excess(self, images: tf.Tensor) -> tf.Tensor:
        return self.parts[0].excess(images)

    def networks(self) -> dict[str, keras.Layer]:
        return _together({part.name: part.networks() for part in self.parts})

    def defend(self, classifier: Any = None) -> DefendedClassifier:
        return DefendedClassifier(self, self.parts[-1].defend(classifier).classifier)


class LearnedComposition(Composition, LearnedDefense):
    """The same, where parts of it learn: side by side, in one training.

    A purifier learns from adversarial images that have passed through the parts before it.
    """

    def __init__(self, parts: Sequence[Defense], config: Any = None) -> None:
        super().__init__(parts, config)
        self.learned = [part for part in parts if isinstance(part, LearnedDefense)]
        self.needs_validation = any(part.needs_validation for part in self.learned)
        for position, part in enumerate(parts):
            if isinstance(part, GeneratorDefense) and position:
                part.before = functools.partial(purify_in_order, parts[:position])

    def prepare(self, steps: int) -> None:
        for part in self.learned:
            part.prepare(steps)

    def finish(self) -> None:
        for part in self.learned:
            part.finish()

    def checkpoint_items(self) -> dict[str, Any]:
        return _together({part.name: part.checkpoint_items() for part in self.learned})

    def arrays(self, train: Split, pairs: Sequence[AdversarialDataset]) -> dict[str, np.ndarray | DiskArray]:
        purifiers = [part for part in self.learned if isinstance(part, PairTrainedPurifier)]
        require(
            bool(purifiers) or not pairs,
            f"--pairs: no part of --defense={self.name} learns from them.",
        )
        merged = {}
        for part in self.learned:
            merged |= part.arrays(train, pairs if part in purifiers else ())
        return merged

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        return _together({part.name: part.train_step(batch, replica) for part in self.learned})

    def watch(self, validation: Split) -> Callable[[], tuple[dict, dict]]:
        needed = {
            part.name: part.watch(validation) for part in self.learned if part.needs_validation
        }
        see = PurifierValidator(self, validation, (default_epsilon(validation.image_shape),))

        def see_all() -> tuple[dict, dict]:
            seen = {name: each() for name, each in needed.items()}
            scalars, images = see()
            return (
                {**scalars, **_together({name: each[0] for name, each in seen.items()})},
                {**images, **_together({name: each[1] for name, each in seen.items()})},
            )

        return see_all


@functools.cache
def make_composition_class(name: str) -> type[Composition]:
    """The class of "a+b", the registered defences a and then b, to be made and trained as one.

    Its hyperparameters are those of all parts; one that several of them have is set for all.

    Raises:
      UserError: an unknown name, or parts that do not go together.
    """
    kinds = [DEFENSES.get(part) for part in name.split("+")]
    check_order(kinds)
    fields = {
        field.name: (field.name, field.type, hyperparameter(None, field.metadata["help"]))
        for kind in kinds
        for field in dataclasses.fields(kind.config_type)
    }

    def check(config: Any) -> None:
        for kind in kinds:
            kind.config_type(**_own(kind, vars(config)))

    learns = any(issubclass(kind, LearnedDefense) for kind in kinds)
    parent = LearnedComposition if learns else Composition

    class Composed(parent):
        """Made of the parts' names."""

        name = "+".join(kind.name for kind in kinds)
        config_type: ClassVar[type] = dataclasses.make_dataclass(
            "CompositionConfig", fields.values(), namespace={"__post_init__": check}, frozen=True
        )

        def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
            Defense.__init__(self, classifier, seed, **hyperparameters)
            config = self.config
            parts = [kind(self.classifier, seed, **_own(kind, vars(config))) for kind in kinds]
            super().__init__(parts, config)

        @classmethod
        def default_epochs(cls, train: Split) -> int:
            """As many as the part that takes most."""
            return max(
                kind.default_epochs(train) for kind in kinds if issubclass(kind, LearnedDefense)
            )

    return Composed


def check_order(kinds: Sequence[type[Defense]]) -> None:
    """Raises `UserError` unless defences of these classes can stand in this order."""
    names = [kind.name for kind in kinds]
    name = "+".join(names)
    require(len(kinds) >= 2, f"compose: {len(kinds)} defences given, at least 2 needed.")
    require(len(set(names)) == len(names), f"--defense={name}: each can be named once only.")
    for kind in kinds:
        require(
            not kind.certifies,
            f"--defense={name}: {kind.name} certifies what it decides alone, and stands in no sequence.",
        )
    for kind in kinds[1:]:
        require(
            not kind.detects,
            f"--defense={name}: {kind.name} refuses images as they arrive, so it must come first.",
        )
    for kind in kinds[:-1]:
        require(
            not kind.replaces_classifier,
            f"--defense={name}: {kind.name} is a classifier of its own, so it must come last.",
        )


def purify_in_order(parts: Sequence[Defense], images: tf.Tensor) -> tf.Tensor:
    """Images float32 [N, H, W, C] as they leave the last of `parts`."""
    for part in parts:
        images = part.purify(images)
    return images


def _own(kind: type[Defense], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the hyperparameters that are given and that `kind` has."""
    names = [field.name for field in dataclasses.fields(kind.config_type)]
    return {name: given[name] for name in names if given.get(name) is not None}


def _together(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """ "part" -> "name" -> value as "part_name" -> value."""
    return {
        f"{group}_{name}": value for group, each in groups.items() for name, value in each.items()
    }
