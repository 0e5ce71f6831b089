"""Base class of BIM, PGD and MIM: small gradient steps, each projected back into the ball."""

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.bounded_attack import BoundedAttack
from tfdefense.attacks.core.cleverhans_backend import cross_entropy_gradient, project_to_ball
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.input_gradients import is_zero
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.errors import require


class IterationBatch(NamedTuple):
    """Images to attack; tensors of N rows.

    Attributes:
      images: clean images, float32 [N, H, W, C].
      labels: true classes, int32 [N].
      targets: target classes, int32 [N]; None means any wrong class.
      epsilon: radii, float32 [N, 1, 1, 1].
    """

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor | None
    epsilon: tf.Tensor


class _IterationState(NamedTuple):
    adversarial: tf.Tensor
    memory: tf.Tensor
    steps: tf.Tensor
    no_gradient: tf.Tensor


@dataclasses.dataclass(frozen=True)
class IterativeAttack(BoundedAttack):
    """Attack of `steps` gradient steps, each projected back into the ball.

    Attributes:
      steps: number of steps, at least 1.
      relative_step_size: length of a step as a fraction of epsilon, above 0.
      stop_at_success: stop an image as soon as it fools the model; it then costs nothing more. This
        is strongest if the attacked model is also the evaluated one, and weakest if the images are
        evaluated on another model. It is off by default.

    Raises:
      UserError: an attribute is out of range.
    """

    takes_targets: ClassVar[bool] = True

    steps: int = 10
    relative_step_size: float = 0.25
    stop_at_success: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.steps >= 1, f"{self.name}: steps {self.steps} given, at least 1 needed.")
        require(
            self.relative_step_size > 0,
            f"{self.name}: relative_step_size {self.relative_step_size} given, a number above 0"
            " needed.",
        )

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        return AttackCost(self.steps, self.steps + 1 if self.stop_at_success else 0)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        batch = IterationBatch(images, labels, targets, self.radius_per_image(images))
        return self.iterate(model, batch, images)

    def update_direction(
        self, gradient: tf.Tensor, memory: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the direction of the next step and the memory for the step after it."""
        return gradient, memory

    def iterate(self, model: Model, batch: IterationBatch, start: tf.Tensor) -> AdversarialBatch:
        """Return the last iterate from `start`, which is first projected into the ball."""

        def is_active(adversarial: tf.Tensor, batch: IterationBatch) -> tf.Tensor:
            if not self.stop_at_success:
                return tf.ones_like(batch.labels, tf.bool)
            return ~is_successful(model(adversarial), batch.labels, batch.targets)

        def step(
            number: tf.Tensor, state: _IterationState, batch: IterationBatch
        ) -> tuple[_IterationState, tf.Tensor]:
            gradient = cross_entropy_gradient(model, state.adversarial, batch.labels, batch.targets)
            direction, memory = self.update_direction(gradient, state.memory)
            step_size = batch.epsilon * self.relative_step_size
            moved = state.adversarial + step_size * norms.steepest_direction(direction, self.norm)
            adversarial = project_to_ball(moved, batch.images, batch.epsilon, self.norm)
            no_gradient = tf.where(number == 0, is_zero(gradient), state.no_gradient)
            state = _IterationState(adversarial, memory, state.steps + 1, no_gradient)
            return state, is_active(adversarial, batch)

        start = project_to_ball(start, batch.images, batch.epsilon, self.norm)
        counts = tf.zeros_like(batch.labels)
        state = masked_while_loop(
            step,
            _IterationState(start, tf.zeros_like(batch.images), counts, counts > 0),
            is_active(start, batch),
            self.steps,
            batch,
        )
        queries = 2 * state.steps + 1 if self.stop_at_success else state.steps
        return AdversarialBatch(state.adversarial, queries, state.steps, state.no_gradient)
