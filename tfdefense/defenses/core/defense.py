"""Base class of all defences, and the pipelines of a defence and a classifier."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.hyperparameters import config_text, stored_hyperparameters
from tfdefense.defenses.core.pipeline_cache import PipelineCache, pipeline_state
from tfdefense.errors import UserError, require, unknown_name
from tfdefense.training import LoopConfig

Classifier = Callable[[tf.Tensor], tf.Tensor]


class Defense(abc.ABC):
    """Purifier in front of a classifier.

    A subclass sets `name`, `summary` (one line for `--list`) and `config_type`, and defines `purify`.

    Args:
      classifier: guarded classifier: a Keras model or a callable from images to logits. It is never
        changed.
      seed: seed of the initial weights, or of the random draws of a defence without weights.
      config: hyperparameters, an instance of `config_type`; None for `hyperparameters`.
      **hyperparameters: values of fields of `config_type`; the others keep their defaults.

    Attributes:
      name: registered name.
      summary: description in one line.
      config_type: frozen dataclass of `hyperparameter` fields.
      config: hyperparameters, an instance of `config_type`.
      classifier: guarded classifier, frozen and checked.
      trained_with: name of the classifier that the defence was trained with.
      seed: seed as given.
      detects: true if the defence also refuses images (see `detector_score`).
      certifies: true if the defence has a method `certify`, which returns classes and certified L2
        radii.
      is_randomized: true if `purify` draws random numbers and takes a draw: see
        `RandomizedDefense`.
      replaces_classifier: true if `defend` uses a classifier of the defence itself.
      recipes: name -> values that `--recipe=NAME` gives to flags.
      batch_size: recommended number of images in one call of `purify`.
      budget: default size of an evaluation.
      training_attributes: names of attributes that only training reads; a subclass lists its own.

    Raises:
      UserError: an unknown hyperparameter, one out of range, `config` and hyperparameters together, or
        an unsuitable classifier.
    """

    name: str
    config_type: ClassVar[type]
    config: Any
    detects: bool = False
    certifies: bool = False
    is_randomized: bool = False
    replaces_classifier: bool = False
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    batch_size: int = 250
    budget: EvaluationBudget = EvaluationBudget()
    training_attributes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, classifier: Any, seed: int = 0, *, config: Any = None, **hyperparameters: Any
    ) -> None:
        require(
            config is None or not hyperparameters,
            f"{self.name}: config and {', '.join(hyperparameters)} given. Give one of them.",
        )
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
    def has_grey_images(self) -> bool:
        """True if images have one channel; many defaults differ for grey and colour images."""
        return self.classifier.image_shape[-1] == 1

    @classmethod
    def settings(
        cls,
        source_settings: Mapping[str, Any],
        config: Any,
        seed: int = 0,
        loop: LoopConfig | None = None,
        pairs: Sequence[AdversarialDataset] = (),
    ) -> dict[str, Any]:
        """Return all settings that determine the defence, by flag name, for `config.json`.

        Args:
          source_settings: settings that identify the data and the classifier.
          config: hyperparameters.
          seed: seed of the defence.
          loop: training loop; None for a defence without training.
          pairs: stored adversarial examples that the defence learns from.
        """
        names = ("epochs", "batch_size", "mixed_precision") if loop is not None else ()
        return {
            **({"pairs": [dataset.name for dataset in pairs]} if pairs else {}),
            "defense": cls.name,
            **source_settings,
            **{name: getattr(loop, name) for name in names},
            "seed": seed,
            **stored_hyperparameters(config),
        }

    @abc.abstractmethod
    def purify(self, images: tf.Tensor) -> tf.Tensor:
        """Return purified images.

        Args:
          images: float32 [N, H, W, C] in [0, 1].

        Returns:
          float32 [N, H, W, C] in [0, 1]. No image depends on the others of its batch.
        """

    def purify_and_classify(
        self, classifier: Classifier, images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return purified images and the pipeline's logits.

        Args:
          classifier: images -> logits [N, K].
          images: float32 [N, H, W, C] in [0, 1].

        Returns:
          Purified images [N, H, W, C], and logits [N, K]: by default those that the classifier
          returns for the purified images.
        """
        purified = self.purify(images)
        return purified, classifier(purified)

    def detector_score(self, images: tf.Tensor) -> tf.Tensor:
        """Return the detector's score of unpurified images; scores above 0 mean "refused".

        Args:
          images: float32 [N, H, W, C] in [0, 1].

        Returns:
          float32 [N], differentiable.
        """
        raise NotImplementedError(f"{self.name} has no detector.")

    def networks(self) -> dict[str, keras.Layer]:
        """Return the trained networks that the pipeline runs, by their names in checkpoints."""
        return {}

    def defend(self, classifier: Any = None) -> "DefendedClassifier":
        """Return the pipeline, which white-box attacks attack and which is exported.

        It is the same object while the defence and the classifier have the same state, also after
        further training, so an attack on it is compiled once: see `pipeline_cache`.

        Args:
          classifier: classifier behind the purifier; None for the guarded one.
        """
        deciding = self.deciding_classifier(classifier)
        cache: PipelineCache[DefendedClassifier] = vars(self).setdefault(
            "_pipelines", PipelineCache()
        )
        state = pipeline_state(self, deciding.model)
        return cache.get(state, lambda: DefendedClassifier(self, deciding))

    def deciding_classifier(self, classifier: Any = None) -> FrozenClassifier:
        """Return the classifier of the pipeline; arguments as for `defend`."""
        shape = self.classifier.image_shape
        if classifier is None or classifier is self.classifier.model:
            return self.classifier
        if isinstance(classifier, FrozenClassifier) and classifier.image_shape == shape:
            return classifier
        return FrozenClassifier(classifier, shape)

    def code(self) -> tuple[type, ...]:
        """Return the classes whose code the pipeline runs, without those of the classifier."""
        return (type(self),)


class DefendedClassifier:
    """Pipeline of a defence and a classifier: images -> logits float32 [N, K], differentiable.

    Args:
      defense: trained defence.
      classifier: classifier behind it.
    """

    def __init__(self, defense: Defense, classifier: FrozenClassifier) -> None:
        self.defense = defense
        self.classifier = classifier
        self.name = f"{defense.name}+{classifier.name}"

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.purify_and_classify(images)[1]

    def purify_and_classify(
        self, images: tf.Tensor, draw: int | tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return purified images float32 [N, H, W, C] and logits float32 [N, K].

        Args:
          images: float32 [N, H, W, C] in [0, 1].
          draw: draw of a randomised defence (see `RandomizedDefense`); None for its usual one.
        """
        draws = {} if draw is None else {"draw": draw}
        return self.defense.purify_and_classify(self.classifier, images, **draws)

    def identity(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the defence's settings, and all networks by name: see `Identifiable`."""
        settings = [self.defense.name, config_text(self.defense.config), self.defense.seed]
        networks = {**self.defense.networks(), "classifier": self.classifier.model}
        return settings, networks

    def code(self) -> tuple[type, ...]:
        """Return the classes of the defence and of the classifier: see `Identifiable`."""
        return (type(self), *self.defense.code(), *self.classifier.code())


def _image_shape(classifier: Any) -> tuple[int, int, int]:
    shape = getattr(classifier, "input_shape", None)
    if isinstance(classifier, keras.Model) and shape and len(shape) == 4 and None not in shape[1:]:
        return shape[1:]
    raise UserError(
        "classifier: its image shape is unknown. Wrap it: FrozenClassifier(model, image_shape)."
    )
