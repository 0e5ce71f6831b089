"""What a defence is: it may learn (`fit`), cleans images (`purify`), guards a classifier (`defend`)."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.errors import UserError, unknown_name
from tfdefense.training import LoopConfig


def hyperparameter(default: Any, help: str) -> Any:
    """A hyperparameter of a defence: a dataclass field that also becomes a command line flag."""
    return dataclasses.field(default=default, metadata={"help": help})


class Defense(abc.ABC):
    """A purifier in front of a classifier.

    A subclass sets `name` and `config_type` (a frozen dataclass of `option`s) and defines `purify`.

    Args:
      classifier: what is guarded: a Keras model or callable from images to logits. It is never changed.
      seed: initial weights, or whatever else is random about the defence.
      config: instance of `config_type` to use as it is; None makes one from `hyperparameters`.
      **hyperparameters: fields of `config_type` in place of their defaults.

    Attributes:
      classifier: it, frozen and checked.
      trained_with: name of the classifier that it learned beside, where that is another one.
      seed: as given.
      config: the hyperparameters.
      detects: whether it also refuses images, as `excess` says.
      certifies: whether it has a `certify`, that gives a class and a radius within which no change can turn it.
      replaces_classifier: whether `defend` decides by a classifier of its own.
      batch_size: images that `purify` does well to get at once.
      judged_images, white_box_images: how many test images reports judge it by, and attack it by, unless told
        otherwise; None for all.
      checked_images, checked_steps, random_draws: by how many of those, with how many steps of PGD, and by how
        many random changes of each, reports check themselves.

    Raises:
      UserError: an unknown hyperparameter or one out of range; an unsuitable classifier.
    """

    name: ClassVar[str]
    config_type: ClassVar[type]
    detects: bool = False
    certifies: bool = False
    replaces_classifier: bool = False
    batch_size: int = 250
    judged_images: int | None = None
    white_box_images: int = 1_000
    checked_images: int = 100
    checked_steps: int = 40
    random_draws: int = 10_000

    def __init__(
        self, classifier: Any, seed: int = 0, *, config: Any = None, **hyperparameters: Any
    ) -> None:
        if not isinstance(classifier, FrozenClassifier):
            classifier = FrozenClassifier(classifier, _image_shape(classifier))
        fields = [field.name for field in dataclasses.fields(self.config_type)]
        for given in hyperparameters:
            if given not in fields:
                raise unknown_name(f"hyperparameter of {self.name}", given, fields)
        self.classifier = classifier
        self.trained_with = classifier.name
        self.seed = seed
        self.config = self.config_type(**hyperparameters) if config is None else config

    @property
    def is_grey(self) -> bool:
        """Whether images have one channel: the papers' MNIST, by which defaults go, and not their CIFAR-10."""
        return self.classifier.image_shape[-1] == 1

    @classmethod
    def settings(
        cls,
        about: Mapping[str, Any],
        config: Any,
        seed: int = 0,
        loop: LoopConfig | None = None,
        pairs: Sequence[Any] = (),
    ) -> dict[str, Any]:
        """All that the defence depends on, by flag name; what `config.json` keeps.

        Args:
          about: what tells data and classifier from others.
          config: the hyperparameters.
          seed: what is random about it follows from it.
          loop: how it is trained, if it learns.
          pairs: the adversarial examples (`crafting.Examples`) that it learns from, if any were given.
        """
        names = ("epochs", "batch_size", "mixed_precision") if loop is not None else ()
        return {
            **({"pairs": [each.name for each in pairs]} if pairs else {}),
            "defense": cls.name,
            **about,
            **{name: getattr(loop, name) for name in names},
            "seed": seed,
            **dataclasses.asdict(config),
        }

    @abc.abstractmethod
    def purify(self, images: tf.Tensor) -> tf.Tensor:
        """Images float32 [N, H, W, C] in [0, 1] -> the same, cleaned; each independently."""

    def decide(
        self, classifier: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Purified images [N, H, W, C] and the pipeline's logits [N, K] of images float32 [N, H, W, C] in [0, 1].

        By default the classifier's logits of the purified images.
        """
        purified = self.purify(images)
        return purified, classifier(purified)

    def excess(self, images: tf.Tensor) -> tf.Tensor:
        """How far images [N, H, W, C], not purified yet, are past what a detector lets through.

        float32 [N], differentiable; where it is above 0, the image is refused.
        """
        raise NotImplementedError(f"{self.name} detects nothing.")

    def networks(self) -> dict[str, keras.Layer]:
        """What is trained and run by `purify` and `excess`, by its name in checkpoints; none by default."""
        return {}

    def defend(self, classifier: Any = None) -> "DefendedClassifier":
        """The whole pipeline: what a white-box attacker attacks and what is exported.

        Args:
          classifier: the classifier behind the purifier; None means the one trained with.
        """
        if classifier is None:
            classifier = self.classifier
        return DefendedClassifier(self, FrozenClassifier(classifier, self.classifier.image_shape))


class DefendedClassifier:
    """`images -> classifier(purify(images))`, or whatever the defence decides: logits float32 [N, K], differentiable."""

    def __init__(self, defense: Defense, classifier: FrozenClassifier) -> None:
        self.defense = defense
        self.classifier = classifier
        self.name = f"{defense.name}+{classifier.name}"

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.defense.decide(self.classifier, images)[1]

    def identity(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the defence's settings, and all networks by name: see `Identifiable`."""
        settings = [self.defense.name, _config_text(self.defense.config), self.defense.seed]
        networks = {**self.defense.networks(), "classifier": self.classifier.model}
        return settings, networks


class RejectingClassifier:
    """A pipeline together with its detector: logits float32 [N, K + 1], the last one for "refused".

    It is the highest exactly where the defence's `excess` is above 0. To attack this at a wrong class is to
    attack detector and classifier at once: Carlini, Wagner, "Adversarial Examples Are Not Easily Detected",
    AISec 2017, section 3.

    Args:
      pipeline: of a defence that detects.
    """

    def __init__(self, pipeline: DefendedClassifier) -> None:
        self.pipeline = pipeline
        self.name = f"{pipeline.name}, detector included"

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        logits = self.pipeline(images)
        refused = tf.reduce_max(logits, axis=-1) + self.pipeline.defense.excess(images)
        return tf.concat([logits, refused[:, tf.newaxis]], axis=-1)


def _config_text(config: Any) -> str:
    """Return `repr(config)` under the class name `Config`, which keeps fingerprints stable when a class is renamed."""
    if not dataclasses.is_dataclass(config):
        return repr(config)
    return "Config" + repr(config).removeprefix(type(config).__qualname__)


def _image_shape(classifier: Any) -> tuple[int, int, int]:
    shape = getattr(classifier, "input_shape", None)
    if isinstance(classifier, keras.Model) and shape and len(shape) == 4:
        return shape[1:]
    raise UserError(
        "classifier: its image shape is not known; wrap it: FrozenClassifier(model, image_shape)."
    )
