"""Stops adversarial training whose robustness collapses, and keeps its most robust weights.

Networks that train against a single step can learn to withstand this step alone: within one pass
their accuracy under PGD falls to zero, and it does not return (Wong, Rice, Kolter, "Fast is Better
than Free", ICLR 2020, section 5: catastrophic overfitting). Later, networks also lose robustness
slowly while they memorise training images (Rice, Wong, Kolter, "Overfitting in Adversarially Robust
Deep Learning", ICML 2020, section 3), which keeps the weights from before.
"""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.training.averaging_optimizers import use_averaged_weights
from tfdefense.training.best_weights import BestWeights
from tfdefense.training.task import ImageGrids, Scalars, Validate
from tfdefense.utils.progress import print_line

# The share of the best accuracy under attack below which training has collapsed.
_COLLAPSED = 0.5


class OverfittingProbe:
    """Judges each validation of a network, and puts the most robust weights into it at the end.

    Its `variables` belong in the checkpoint.

    Args:
      network: network that is trained. It is validated with the moving average of its weights.
      optimizer: its optimizer, which maintains the average if `use_ema` is set.
      steps: number of steps of the whole training.
    """

    def __init__(self, network: keras.Model, optimizer: Any, steps: int) -> None:
        self._network, self._optimizer, self._steps = network, optimizer, steps
        self._best = BestWeights(network)
        self._has_collapsed = tf.Variable(initial_value=False, trainable=False)

    @property
    def variables(self) -> list[tf.Variable]:
        """The state to store in a checkpoint."""
        return [self._has_collapsed, *self._best.variables]

    @property
    def has_collapsed(self) -> bool:
        """True after an accuracy under attack below half of the best one."""
        return bool(self._has_collapsed.numpy())

    def watch(self, validate: Validate, accuracy: str) -> Validate:
        """Return `validate` with a judgement after each call.

        Args:
          validate: measures the network.
          accuracy: name of the scalar with the accuracy under attack.
        """

        def validate_and_judge() -> tuple[Scalars, ImageGrids]:
            with use_averaged_weights(self._network, self._optimizer):
                scalars, grids = validate()
                self._best.update(scalars[accuracy])
            self._judge(scalars[accuracy])
            return scalars, grids

        return validate_and_judge

    def _judge(self, accuracy: float) -> None:
        if accuracy < _COLLAPSED * self._best.score:
            self._has_collapsed.assign(value=True)
            print_line(
                f"Training stopped: accuracy under PGD fell to {accuracy:.1%} from"
                f" {self._best.score:.1%} (catastrophic overfitting). The weights of then are kept."
                " Lower --learning_rate, or train with --inner_attack=pgd."
            )
        if self.has_collapsed or int(self._optimizer.iterations.numpy()) >= self._steps:
            self._best.restore()
