"""Base classes of attacks: hyperparameters in the constructor, data in the call."""

import abc
import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack_result import AdversarialBatch, AttackResult
from tfdefense.attacks.core.compile_cache import FunctionMaker, compile_on_model
from tfdefense.attacks.core.expectation import num_draws
from tfdefense.attacks.core.model import Model
from tfdefense.data.core.dataset import check_images, check_labels
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class Attack(abc.ABC):
    """Attack on an image classifier: a frozen dataclass of hyperparameters.

    `attack(model, images, labels)` returns the adversarial images. `attack.run(model, images,
    labels)` also returns the success, the norms and the cost of each image. Both compile the attack
    on the first call with a model, so pass the same model object again.

    Images that are finished leave the batch and cost nothing more. The result for an image depends
    neither on the other images nor on its place in the batch. Inside a `tf.function` of the caller
    an attack is traced into that function, and the values of its arguments are not checked.

    A subclass sets `name` and defines `craft`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    takes_targets: ClassVar[bool] = False

    @property
    def min_classes(self) -> int:
        """Smallest number of classes of a model that this attack can attack."""
        return 2

    def __call__(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return adversarial images float32 [N, H, W, C] in [0, 1].

        Args:
          model: function from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K]: a
            Keras model, a defended pipeline, an `Expectation`, or a function with `bpda` inside.
          images: float32 [N, H, W, C] in [0, 1].
          labels: integer [N], the true classes.
          targets: integer [N], the classes that the model should predict. None means any wrong
            class or, for an attack with a `targets` hyperparameter, the classes that this
            hyperparameter chooses.

        Raises:
          UserError: images, labels, targets or logits have a wrong shape, type or range; the model
            returns probabilities in place of logits or has no gradient; or the attack takes no
            targets.
        """
        if not tf.executing_eagerly():
            return self.craft_in_graph(model, images, labels, targets).images
        return _compile(_craft_function, self, model, images)(images, labels, targets)

    def run(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> AttackResult:
        """Return adversarial images with success, norms and cost; arguments as for the call.

        It warns if the gradient of the model is zero at every pixel of an image.
        """
        if not tf.executing_eagerly():
            return self.run_in_graph(model, images, labels, targets)
        result = _compile(_run_function, self, model, images)(images, labels, targets)
        zero_gradients = int(np.sum(result.no_gradient))
        if zero_gradients:
            warnings.warn(
                f"{self.name}: the model's gradient is zero at every pixel of {zero_gradients} of"
                f" {len(images)} images, where a gradient attack finds nothing. Attack with square,"
                " or declare a gradient with bpda.",
                stacklevel=2,
            )
        return result

    @abc.abstractmethod
    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        """Return the adversarial images of one batch; this is the method that a subclass defines.

        Args:
          model: the attacked model.
          images: float32 [N, H, W, C] in [0, 1].
          labels: int32 [N].
          targets: int32 [N], or None for any wrong class.
        """

    def craft_in_graph(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        """Return the result of `craft` inside a `tf.function`; arguments as for the call."""
        return self._craft(model, images, labels, targets)[0]

    def run_in_graph(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AttackResult:
        """Return the result of `run` inside a `tf.function`; arguments as for the call."""
        batch, targets = self._craft(model, images, labels, targets)
        predicted = tf.argmax(model(batch.images), axis=-1, output_type=tf.int32)
        perturbation = batch.images - tf.cast(images, tf.float32)
        count = tf.shape(perturbation)[:1]
        draws = num_draws(model)
        untargeted = targets is None
        return AttackResult(
            images=batch.images,
            success=predicted != tf.cast(labels, tf.int32) if untargeted else predicted == targets,
            targets=tf.fill(count, -1) if untargeted else targets,
            l0=norms.l0(perturbation),
            l2=norms.l2(perturbation),
            linf=norms.linf(perturbation),
            queries=tf.broadcast_to(draws * batch.queries, count),
            gradients=tf.broadcast_to(draws * batch.gradients, count),
            no_gradient=tf.broadcast_to(batch.no_gradient, count),
        )

    def targeted_variant(self, num_classes: int) -> "Attack | None":
        """Return this attack if it takes targets, else a substitute that does, or None.

        Args:
          num_classes: number of classes of the model to attack.
        """
        del num_classes
        return self if self.takes_targets else None

    def choose_targets(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor
    ) -> tf.Tensor | None:
        """Return the targets, int32 [N], of a call that gives none; None means any wrong class."""
        del model, images, labels
        return None

    def _craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> tuple[AdversarialBatch, tf.Tensor | None]:
        """Cast the arguments, craft, and return the result and the targets that were used."""
        require(
            targets is None or self.takes_targets,
            f"{self.name}: targets given, but this attack takes none.",
        )
        images = tf.cast(images, tf.float32)
        labels = tf.cast(labels, tf.int32)
        if targets is not None:
            targets = tf.cast(targets, tf.int32)
            return self.craft(model, images, labels, targets), targets
        targets = self.choose_targets(model, images, labels)
        batch = self.craft(model, images, labels, targets)
        queries_for_targets = 0 if targets is None else 1
        return batch._replace(queries=batch.queries + queries_for_targets), targets


@dataclasses.dataclass(frozen=True)
class BoundedAttack(Attack):
    """Attack that moves every image by at most `epsilon`.

    Attributes:
      epsilon: radius of the ball around each image: one number, or a float32 tensor [N, 1, 1, 1]
        with one radius per image. In [0, 1] for "linf", 0 or more for "l2".
      norm: norm of the ball, "linf" or "l2".

    Raises:
      UserError: an attribute is out of range.
    """

    allowed_norms: ClassVar[tuple[str, ...]] = norms.NORMS

    epsilon: float | tf.Tensor = 0.3
    norm: str = "linf"

    def __post_init__(self) -> None:
        norms.check_norm(self.norm, self.name, self.allowed_norms)
        if not tf.is_tensor(self.epsilon):
            norms.check_radius(self.epsilon, self.norm, self.name)

    def radius_per_image(self, images: tf.Tensor) -> tf.Tensor:
        """Return the epsilon of each image, float32 [N, 1, 1, 1]."""
        return tf.broadcast_to(self.epsilon, tf.concat([tf.shape(images)[:1], [1, 1, 1]], axis=0))


def with_epsilon(attack: Attack, epsilon: float | tf.Tensor) -> Attack:
    """Return `attack` with another radius; the same attack if it has none."""
    if getattr(attack, "epsilon", None) is None:
        return attack
    return dataclasses.replace(attack, **{"epsilon": epsilon})


def _compile(
    make_function: FunctionMaker, attack: Attack, model: Model, images: Any
) -> Callable[[Any, Any, Any], Any]:
    """Check the model and the images; return the compiled `(images, labels, targets) -> result`."""
    require(callable(model), f"model: {type(model).__name__} given, a callable needed.")
    check_images(np.asarray(images))
    shape = tuple(np.shape(images)[1:])
    compiled = compile_on_model(make_function, with_epsilon(attack, 0.0), model, shape)
    require(
        compiled.num_classes >= attack.min_classes,
        f"{attack.name}: a model of {compiled.num_classes} classes given, at least"
        f" {attack.min_classes} needed.",
    )

    def call(images: Any, labels: Any, targets: Any) -> Any:
        labels = np.asarray(labels)
        check_labels(labels, len(images), compiled.num_classes)
        if targets is not None:
            targets = np.asarray(targets)
            check_labels(targets, len(images), compiled.num_classes, "targets")
            same = int(np.sum(targets == labels))
            require(same == 0, f"targets: {same} of {len(labels)} equal their label.")
        epsilon, norm = getattr(attack, "epsilon", None), getattr(attack, "norm", "linf")
        radii = norms.broadcast_radius(
            0.0 if epsilon is None else epsilon, len(images), norm, attack.name
        )
        return compiled(radii, images, labels, targets)

    return call


def _craft_function(attack: Attack, model: Model) -> Callable[..., tf.Tensor]:
    def craft(
        epsilon: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> tf.Tensor:
        return with_epsilon(attack, epsilon).craft_in_graph(model, images, labels, targets).images

    return craft


def _run_function(attack: Attack, model: Model) -> Callable[..., AttackResult]:
    def run(
        epsilon: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> AttackResult:
        return with_epsilon(attack, epsilon).run_in_graph(model, images, labels, targets)

    return run
