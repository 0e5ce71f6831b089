"""What BIM, PGD and MIM share: FGSM in small steps, each projected back into the ball."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import BoundedAttack, Crafted, Model
from tfdefense.attacks.core.cleverhans_backend import cross_entropy_gradient, project_to_ball
from tfdefense.attacks.core.gradients import fooled, is_zero
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class IterativeAttack(BoundedAttack):
    """What BIM, PGD and MIM share: `steps` steps, each projected back into the ball.

    Attributes:
      steps: how many, at least 1.
      relative_step_size: length of a step as a fraction of epsilon, above 0.
      stop_at_success: leave an image as soon as it fools the model; it then costs nothing more. The
        strongest choice when `model` is also what judges the result; the weakest when the images
        are handed on to something else, so off unless asked for.

    Raises:
      UserError: an attribute out of range.
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
            f"{self.name}: relative_step_size {self.relative_step_size} given, a number above 0 needed.",
        )

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        return self.iterate(model, images, labels, targets, images, self.radii(images))

    def direction(self, slope: tf.Tensor, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What to follow at a gradient, and what to remember of it for the next step."""
        return slope, memory

    def iterate(
        self,
        model: Model,
        images: tf.Tensor,
        labels: tf.Tensor,
        targets: tf.Tensor | None,
        start: tf.Tensor,
        epsilon: tf.Tensor,
    ) -> Crafted:
        """The last iterate from `start`, which is first projected into the ball around `images`."""
        untargeted = targets is None

        def standing(adversarial: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
            if not self.stop_at_success:
                return tf.ones_like(labels, tf.bool)
            return ~fooled(model(adversarial), labels, None if untargeted else targets)

        def move(number: tf.Tensor, state: tuple, constants: tuple) -> tuple:
            adversarial, memory, steps, blind = state
            images, labels, targets, epsilon = constants
            slope = cross_entropy_gradient(model, adversarial, labels, None if untargeted else targets)
            along, memory = self.direction(slope, memory)
            step = epsilon * self.relative_step_size * norms.steepest_direction(along, self.norm)
            adversarial = project_to_ball(adversarial + step, images, epsilon, self.norm)
            blind = tf.where(number == 0, is_zero(slope), blind)
            active = standing(adversarial, labels, targets)
            return (adversarial, memory, steps + 1, blind), active

        start = project_to_ball(start, images, epsilon, self.norm)
        aims = labels if untargeted else targets
        nothing = tf.zeros_like(labels)
        adversarial, _, steps, blind = masked_while_loop(
            move,
            (start, tf.zeros_like(images), nothing, nothing > 0),
            standing(start, labels, aims),
            self.steps,
            (images, labels, aims, epsilon),
        )
        queries = 2 * steps + 1 if self.stop_at_success else steps
        return Crafted(adversarial, queries, steps, blind)
