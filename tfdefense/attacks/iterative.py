"""What BIM and PGD share: FGSM in small steps, each projected back into the ball."""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.base import LinfAttack, Model
from tfdefense.attacks.cleverhans_parts import linf_direction, project
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class IterativeAttack(LinfAttack):
    """What BIM and PGD share: `steps` steps, each projected back into the ball.

    Attributes:
      steps: how many, at least 1.
      relative_step_size: length of a step as a fraction of epsilon, above 0.
      stop_at_success: leave an image as soon as it is misclassified, and stop when all are. The
        strongest choice when `model` is also what judges the result; the weakest when the images
        are handed on to something else, so off unless asked for.

    Raises:
      UserError: an attribute out of range.
    """

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

    def craft(self, model: Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self.iterate(model, images, labels, images)

    def iterate(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, start: tf.Tensor
    ) -> tf.Tensor:
        """The last iterate from `start`, which is first projected into the ball around `images`."""
        size = self.epsilon * self.relative_step_size

        def standing(adversarial: tf.Tensor) -> tf.Tensor:
            if not self.stop_at_success:
                return tf.ones_like(labels, tf.bool)
            predicted = tf.argmax(model(adversarial), axis=-1, output_type=labels.dtype)
            return predicted == labels

        def unfinished(step: tf.Tensor, adversarial: tf.Tensor, active: tf.Tensor) -> tf.Tensor:
            return step < self.steps and tf.reduce_any(active)

        def move(step: tf.Tensor, adversarial: tf.Tensor, active: tf.Tensor) -> tuple:
            moved = adversarial + size * linf_direction(model, adversarial, labels)
            moved = project(moved, images, self.epsilon)
            adversarial = tf.where(active[:, None, None, None], moved, adversarial)
            return step + 1, adversarial, standing(adversarial)

        start = project(start, images, self.epsilon)
        _, adversarial, _ = tf.while_loop(
            unfinished, move, (tf.constant(0), start, standing(start))
        )
        return adversarial
