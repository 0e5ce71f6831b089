"""Probe that stops adversarial training whose robustness collapses, and keeps the best weights.

Networks that train against a single step can learn to withstand this step alone: within one epoch
their accuracy under PGD falls to zero, and it does not return (Wong, Rice, Kolter, "Fast is Better
than Free", ICLR 2020, section 5: catastrophic overfitting). Networks also lose robustness slowly
while they memorise training images. The remedy of Rice, Wong, Kolter, "Overfitting in Adversarially
Robust Deep Learning", ICML 2020, section 3, is to keep the weights with the best validation.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.training.averaging_optimizers import use_averaged_weights
from tfdefense.training.best_weights import BestWeights
from tfdefense.training.task import VALIDATION_IMAGES, ImageGrids, Scalars, Validate
from tfdefense.utils.progress import print_line

# The share of the best accuracy under attack below which training has collapsed.
_COLLAPSED = 0.5
_LOWEST_LIMIT, _HIGHEST_LIMIT = 0.1, 0.75
_ADVICE = "Lower --learning_rate, or train with --inner_attack=pgd."


class OverfittingProbe:
    """Judge of each validation of a network, which gets its most robust weights at the end.

    Nothing is judged while epsilon or the learning rate rises: a good training may then withstand
    few attacks, and more in each epoch. After that:

    - Training has collapsed if the accuracy under attack is below half of the best one, which may be
      one of the rise, and by more than two standard deviations of the difference. It stops. This needs
      a best accuracy that is not near chance: above 2 / K with K classes, but at least 10 % and at most
      75 %, so that 2 classes are judged too. Lower accuracies vary without a collapse.
    - If the accuracy under attack is no better than chance, one line says so. Training continues,
      because this accuracy may still grow. No better than chance is up to 1 / K plus two standard
      deviations of the accuracy of random guesses.

    If all accuracies of the training were near chance, one line says so at the end.

    Its `variables` belong in the checkpoint. A resumed training may print a line again.

    Args:
      network: network that is trained. It is validated with the moving average of its weights.
      optimizer: its optimizer, which maintains the average if `use_ema` is set.
      steps: number of steps of the training.
      rising_steps: number of first steps in which epsilon or the learning rate rises.
      num_classes: K.

    Attributes:
      rising_steps: as given.
    """

    def __init__(
        self,
        network: keras.Model,
        optimizer: Any,
        steps: int,
        rising_steps: int,
        num_classes: int,
    ) -> None:
        self._network, self._optimizer = network, optimizer
        self._steps, self.rising_steps = steps, rising_steps
        # In float32, as the scores of `BestWeights` are.
        self._near_chance = np.float32(max(_LOWEST_LIMIT, min(_HIGHEST_LIMIT, 2 / num_classes)))
        self._chance = 1 / num_classes
        self._images = VALIDATION_IMAGES
        self._has_warned = False
        self._best = BestWeights(network)
        self._has_collapsed = tf.Variable(initial_value=False, trainable=False)

    @property
    def variables(self) -> list[tf.Variable]:
        """The state to store in a checkpoint."""
        return [self._has_collapsed, *self._best.variables]

    @property
    def has_collapsed(self) -> bool:
        """True if training has collapsed."""
        return bool(self._has_collapsed.numpy())

    def watch(self, validate: Validate, accuracy: str, images: int = VALIDATION_IMAGES) -> Validate:
        """Return `validate` with averaged weights during each call and a judgement after it.

        Args:
          validate: measures the network, and what contains it.
          accuracy: name of the scalar with the accuracy under attack.
          images: number of images that it is measured on.
        """
        self._images = images

        def validate_and_judge() -> tuple[Scalars, ImageGrids]:
            with use_averaged_weights(self._network, self._optimizer):
                scalars, grids = validate()
                self._best.update(scalars[accuracy])
            self._judge(scalars[accuracy])
            return scalars, grids

        return validate_and_judge

    def _judge(self, accuracy: float) -> None:
        step, best = int(self._optimizer.iterations.numpy()), self._best.score
        has_risen, is_last = step > self.rising_steps, step >= self._steps
        chance_limit = np.float32(self._chance + 2 * self._deviation(self._chance))
        drop = 2 * math.hypot(self._deviation(best), self._deviation(accuracy))
        has_fallen = accuracy < min(_COLLAPSED * best, best - drop)
        if has_risen and best > self._near_chance and has_fallen:
            self._has_collapsed.assign(value=True)
            print_line(
                f"Training stopped: accuracy under PGD fell to {accuracy:.1%} from {best:.1%}"
                f" (catastrophic overfitting). The defence gets its weights with {best:.1%}. {_ADVICE}"
            )
        elif is_last and best <= self._near_chance:
            print_line(
                "Training ended, but almost nothing withstands PGD: the best accuracy under it is"
                f" {best:.1%}, near chance ({self._chance:.1%}). {_ADVICE}"
            )
        elif has_risen and not is_last and accuracy <= chance_limit and not self._has_warned:
            self._has_warned = True
            print_line(
                f"Accuracy under PGD is {accuracy:.1%}, no better than chance ({self._chance:.1%}). If it"
                f" stays there, the network may withstand only one step. Then stop the training. {_ADVICE}"
            )
        if self.has_collapsed or is_last:
            self._best.restore()

    def _deviation(self, accuracy: float) -> float:
        """Return the standard deviation of an accuracy that is measured on the validation images."""
        return math.sqrt(accuracy * (1 - accuracy) / self._images)
