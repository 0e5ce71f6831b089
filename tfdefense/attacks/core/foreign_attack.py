"""Attacks of other libraries, verified and reported like those of this package."""

import abc
import dataclasses
import importlib.metadata
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.attack_result import AdversarialBatch, AttackResult
from tfdefense.attacks.core.counted_model import CountedModel, counted_model
from tfdefense.attacks.core.expectation import restart_draws
from tfdefense.attacks.core.foreign_batch import ForeignBatch, seeded_libraries, verify_images
from tfdefense.attacks.core.foreign_facts import AttackFacts
from tfdefense.attacks.core.foreign_parameters import Value, format_parameters, parse_parameters
from tfdefense.attacks.core.model import Model
from tfdefense.data.core.dataset import check_images, check_logits
from tfdefense.errors import UserError, WorkFailedError, require, short_reason


@dataclasses.dataclass(frozen=True)
class ForeignAttack(Attack):
    """Attack of another library, named by text such as `art:HopSkipJump:max_iter=10`.

    The library runs eagerly on NumPy batches, so such an attack cannot be part of a `tf.function` or
    of `StrongestOf`. What it returns is not trusted: images are clipped to [0, 1] and projected into
    the ball, images that are not finite are replaced by clean ones, and success is computed again
    from the model's predictions. Images that already fool the model are not attacked. If the library
    fails on a batch, each image is attacked alone; an image on which it fails then is unchanged.

    The random numbers of NumPy, TensorFlow and Python start from a fixed seed for each batch. The
    result for an image may depend on its batch. `queries` and `gradients` are means over the images
    of a batch. A model with several surrogate gradients is attacked through its default one.

    A subclass sets `library` and `distribution`, and defines `find_facts` and `generate`.

    Attributes:
      method: name of the attack in its library.
      parameters: the library's parameters that differ from its defaults, as text.
      epsilon: radius; None for an attack that has none.
      norm: norm of the radius, or of what the attack minimises.

    Raises:
      UserError: the attack or a parameter is unknown, or a value is not allowed.
    """

    library: ClassVar[str]
    distribution: ClassVar[str]

    method: str
    parameters: str = ""
    epsilon: float | None = None
    norm: str = dataclasses.field(default="linf", init=False)

    def __post_init__(self) -> None:
        facts = self.find_facts(self.method, self.values)
        epsilon = facts.check_radius(self.epsilon, self.label)
        # The instance has its own name and facts; they follow from the fields.
        for attribute, value in (
            ("name", f"{self.library}:{self.method}"),
            ("takes_targets", facts.takes_targets),
            ("epsilon", epsilon),
            ("norm", facts.norm),
        ):
            object.__setattr__(self, attribute, value)

    @classmethod
    def parse(
        cls, text: str, epsilon: float | Mapping[str, float] | None = None
    ) -> "ForeignAttack":
        """Return the attack that the text after "library:" describes.

        Args:
          text: for example "HopSkipJump:max_iter=10".
          epsilon: radius, or one radius per norm, for an attack that has a radius and whose text
            gives none.

        Raises:
          UserError: the attack, a parameter or a value is unknown or not allowed.
        """
        method, _, parameters = text.partition(":")
        flag = f"{cls.library}:{text}"
        values = parse_parameters(parameters, flag)
        facts = cls.find_facts(method, _without_radius(values))
        radius = facts.take_radius(values, flag)
        if radius is None and facts.needs_radius and epsilon is not None:
            radius = epsilon.get(facts.norm) if isinstance(epsilon, Mapping) else epsilon
        return cls(method, format_parameters(values), radius)

    @classmethod
    @abc.abstractmethod
    def find_facts(cls, method: str, values: Mapping[str, Value]) -> AttackFacts:
        """Return the properties of an attack with these parameters.

        Raises:
          UserError: the attack or a parameter is unknown, or a value is not allowed.
        """

    @abc.abstractmethod
    def generate(self, model: CountedModel, batch: ForeignBatch) -> Any:
        """Return the adversarial images [N, H, W, C] of the library."""

    @property
    def values(self) -> dict[str, Value]:
        """The library's parameters that differ from its defaults."""
        return parse_parameters(self.parameters, f"{self.library}:{self.method}:{self.parameters}")

    @property
    def label(self) -> str:
        """Name and parameters, as `--attacks` takes them."""
        return ":".join([self.library, self.method, *filter(None, [self.parameters])])

    @property
    def min_classes(self) -> int:
        return self.find_facts(self.method, self.values).min_classes

    @property
    def revision(self) -> str:
        version = importlib.metadata.version(self.distribution)
        return f"{super().revision}-{self.library}-{version}"

    @property
    def tries_surrogates(self) -> bool:
        return False

    @property
    def minimized_norm(self) -> str | None:
        return self.norm if self.epsilon is None and self.norm != "none" else None

    def __call__(
        self, model: Model, images: Any, labels: Any, targets: Any | None = None
    ) -> tf.Tensor:
        return self.run(model, images, labels, targets).images

    def run(
        self, model: Model, images: Any, labels: Any, targets: Any | None = None
    ) -> AttackResult:
        """Return adversarial images with success, norms and cost; arguments as for the call.

        It warns if the library failed on images or returned images that had to be projected.

        Raises:
          UserError: as the call, or the call is inside a `tf.function`.
          WorkFailedError: the library fails on every one of several images.
        """
        if not tf.executing_eagerly():
            raise self._graph_error()
        require(callable(model), f"model: {type(model).__name__} given, a callable needed.")
        require(
            targets is None or self.takes_targets,
            f"{self.label}: targets given, but this attack takes none.",
        )
        check_images(np.asarray(images))
        counted = counted_model(model, tuple(np.shape(images)[1:]))
        require(
            counted.num_classes >= self.min_classes,
            f"{self.label}: a model of {counted.num_classes} classes given, at least"
            f" {self.min_classes} needed.",
        )
        batch = ForeignBatch.from_arguments(images, labels, targets, counted.num_classes)
        restart_draws(model)
        logits = np.asarray(counted(batch.images))
        check_logits(logits, len(logits))
        active = ~batch.is_fooled(logits)
        adversarial = batch.images.copy()
        counted.reset()
        if active.any():
            adversarial[active] = self._attack(counted, batch.select(active))
        queries, gradients = (np.ceil(count / max(active.sum(), 1)) for count in counted.counts())
        return batch.measure(
            counted(adversarial), adversarial, 1 + queries * active, gradients * active
        )

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        raise self._graph_error()

    def _graph_error(self) -> UserError:
        return UserError(
            f"{self.label}: runs only outside of TensorFlow graphs, so it cannot be part of"
            " strongest_of or of a tf.function. Call it directly, or give it to --attacks."
        )

    def _attack(self, model: CountedModel, batch: ForeignBatch) -> np.ndarray:
        """Return the verified images of the library."""
        with seeded_libraries():
            reason = ""
            try:
                made, failed = self.generate(model, batch), 0
            except (UserError, WorkFailedError):
                raise
            except Exception as error:
                made, failed, error = self._attack_one_by_one(model, batch, error)
                reason = f" ({type(error).__name__}: {short_reason(error)})"
        found = verify_images(made, batch.images, self.epsilon, self.norm, self.label)
        for count, what in (
            (failed, f"{self.library} fails on them, so they are unchanged{reason}"),
            (found.not_finite, "not finite, so they are unchanged"),
            (found.outside, "outside the ball or [0, 1], so they are projected into it"),
        ):
            if count:
                warnings.warn(f"{self.label}: {count} of {len(made)} images: {what}.", stacklevel=4)
        return found.images

    def _attack_one_by_one(
        self, model: CountedModel, batch: ForeignBatch, error: Exception
    ) -> tuple[np.ndarray, int, Exception]:
        """Attack each image alone; return the images, the number of failures, and the last one.

        Args:
          model: the model.
          batch: the images.
          error: exception of the library on the batch.

        Raises:
          WorkFailedError: the library fails on each of several images. A single one may be the last
            that still needs an attack.
        """
        made, failed = batch.images.copy(), 0
        if len(made) == 1:
            return made, 1, error
        for row in range(len(made)):
            try:
                made[row : row + 1] = self.generate(model, batch.select(np.array([row])))
            except Exception as latest:
                error = latest
                failed += 1
        if failed == len(made):
            raise WorkFailedError(
                f"{self.label}: {self.library} failed with {type(error).__name__}:"
                f" {short_reason(error)}"
            ) from error
        return made, failed, error


def _without_radius(values: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if key != "epsilon"}
