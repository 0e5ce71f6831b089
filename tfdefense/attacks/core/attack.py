"""Base class of attacks: hyperparameters in the constructor, data in the call."""

import abc
import dataclasses
import warnings
from typing import ClassVar

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch, AttackResult
from tfdefense.attacks.core.compiled_attack import compile_craft, compile_run
from tfdefense.attacks.core.each_surrogate import AttackedBatch, craft_with_each_surrogate
from tfdefense.attacks.core.expectation import num_draws
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.radius import with_epsilon
from tfdefense.errors import require
from tfdefense.networks.surrogates import requested_surrogates
from tfdefense.utils.code_revision import code_revision


@dataclasses.dataclass(frozen=True)
class Attack(abc.ABC):
    """Attack on an image classifier: a frozen dataclass of hyperparameters.

    `attack(model, images, labels)` returns the adversarial images. `attack.run(model, images,
    labels)` also returns the success, the norms and the cost of each image. Both compile the attack
    on the first call with a model, so pass the same model object again.

    Images that are finished leave the batch and cost nothing more. The result for an image depends
    neither on the other images nor on its place in the batch, unless the model draws anew at each
    call. Inside a `tf.function` of the caller an attack is traced into that function, and the values
    of its arguments are not checked.

    If the model declares several surrogate gradients, both methods try all of them and return the
    worst case of each image: see `each_surrogate`. `use_surrogates` chooses among them. Inside a
    `tf.function` of the caller an attack uses the default gradient, unless `use_surrogates`
    requests others there.

    A subclass sets `name` and `summary`, one line for `--list`, and defines `craft`.

    Attributes:
      takes_targets: true if the call takes targets.
      uses_gradients: false for an attack that only queries the model.
      has_parts: true for an attack that runs other attacks, which try the surrogate gradients.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    takes_targets: ClassVar[bool] = False
    uses_gradients: ClassVar[bool] = True
    has_parts: ClassVar[bool] = False

    @property
    def min_classes(self) -> int:
        """Smallest number of classes of a model that this attack can attack."""
        return 2

    @property
    def min_side(self) -> int:
        """Smallest height and width of images that this attack can attack, in pixels."""
        return 1

    @property
    def revision(self) -> str:
        """Revision of the code that makes the images; part of the key of stored images.

        It is the `code_revision` of the attack's class. An attack that runs code which its module
        does not import, such as a library chosen by name, adds the version of that code.
        """
        return code_revision(type(self))

    @property
    def tries_surrogates(self) -> bool:
        """False for an attack that runs once: without gradients, or with the default one."""
        return self.uses_gradients

    @property
    def minimized_norm(self) -> str | None:
        """Norm that the attack minimises: "l0", "l2" or "linf"; None for an attack with a radius."""
        is_bounded = getattr(self, "epsilon", None) is not None
        return None if is_bounded else getattr(self, "norm", "l2")

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost | None:
        """Return the largest cost for one image, with one surrogate gradient; None if unknown.

        A report estimates its time from it before it begins.

        Args:
          image_shape: (H, W, C).
          num_classes: number of classes of the model.
        """
        del image_shape, num_classes
        return None

    def typical_cost(self, image_shape: tuple[int, ...], num_classes: int) -> float | None:
        """Return the typical cost for one image in gradients, with one surrogate; None if unknown.

        A prediction counts as a third of a gradient. An attack whose images finish early overrides
        this method; by default it is the largest cost. Rough estimates of time use it.

        Args:
          image_shape: (H, W, C).
          num_classes: number of classes of the model.
        """
        cost = self.largest_cost(image_shape, num_classes)
        return None if cost is None else cost.in_gradients

    def __call__(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return adversarial images float32 [N, H, W, C] in [0, 1].

        Args:
          model: function from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K]: a
            Keras model, a defended pipeline, an `Expectation`, or a function with `bpda` inside.
            AutoGraph does not convert it; a model that needs this must be a `tf.function`.
          images: float32 [N, H, W, C] in [0, 1].
          labels: integer [N], the true classes.
          targets: integer [N], the classes that the model should predict. None means any wrong
            class or, for an attack with a `targets` hyperparameter, the classes that this
            hyperparameter chooses.

        Raises:
          UserError: images, labels, targets or logits have a wrong shape, type or range; the model
            returns probabilities in place of logits or has no gradient; the attack takes no
            targets; or the model declares none of the requested surrogate gradients.
        """
        if not tf.executing_eagerly():
            return self.craft_in_graph(model, images, labels, targets).images
        return compile_craft(self, model, images)(images, labels, targets)

    def run(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> AttackResult:
        """Return adversarial images with success, norms and cost; arguments as for the call.

        It warns if the gradient of the model is zero at every pixel of an image.
        """
        if not tf.executing_eagerly():
            return self.run_in_graph(model, images, labels, targets)
        result = compile_run(self, model, images)(images, labels, targets)
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

    # AutoGraph of a caller would convert every function of the attack, which is slow.
    @tf.autograph.experimental.do_not_convert
    def craft_in_graph(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        """Return the result of `craft` inside a `tf.function`; arguments as for the call."""
        return self._craft(model, images, labels, targets)[0]

    @tf.autograph.experimental.do_not_convert
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
        success = predicted != tf.cast(labels, tf.int32) if untargeted else predicted == targets
        return AttackResult(
            images=batch.images,
            success=success,
            targets=tf.fill(count, -1) if untargeted else targets,
            l0=norms.l0(perturbation),
            l2=norms.l2(perturbation),
            linf=norms.linf(perturbation),
            queries=tf.broadcast_to(draws * batch.queries, count),
            gradients=tf.broadcast_to(draws * batch.gradients, count),
            no_gradient=tf.broadcast_to(batch.no_gradient, count),
            surrogate=tf.where(success, batch.surrogate, -1),
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
            return self._craft_worst_case(model, images, labels, targets), targets
        targets = self.choose_targets(model, images, labels)
        batch = self._craft_worst_case(model, images, labels, targets)
        queries_for_targets = 0 if targets is None else 1
        return batch._replace(queries=batch.queries + queries_for_targets), targets

    def _craft_worst_case(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        """Return the result of `craft`, over all requested surrogate gradients if there are any."""
        names = requested_surrogates()
        if not names or not self.tries_surrogates or self.has_parts:
            return self.craft(model, images, labels, targets)
        epsilon = getattr(self, "epsilon", None)

        def craft(batch: AttackedBatch) -> AdversarialBatch:
            attack = self if batch.epsilon is None else with_epsilon(self, batch.epsilon)
            return attack.craft(model, batch.images, batch.labels, batch.targets)

        radii = epsilon if norms.has_radius_per_image(epsilon) else None
        batch = AttackedBatch(images, labels, targets, radii)
        return craft_with_each_surrogate(craft, model, batch, names, self.minimized_norm)
