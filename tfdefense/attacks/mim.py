"""Momentum iterative method: BIM along a running sum of gradients."""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.core.iterative import IterativeAttack
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class MIM(IterativeAttack):
    """g_{t+1} = decay * g_t + grad_t / mean|grad_t|, then a step along g_{t+1}.

    Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, algorithm 1. Its images
    carry over to other models better than BIM's. The mean in place of the paper's sum scales the
    whole of g alike and changes no step; it is cleverhans' choice too.

    Attributes:
      decay: factor of the gradients so far, 0 or more; 0 is BIM.
    """

    name = "mim"
    summary = "The momentum iterative method (Dong et al. 2018)"
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.decay >= 0, f"{self.name}: decay {self.decay} given, 0 or more needed.")

    def direction(self, slope: tf.Tensor, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean = tf.reduce_mean(tf.abs(slope), axis=(1, 2, 3), keepdims=True)
        momentum = self.decay * memory + slope / tf.maximum(mean, 1e-12)
        return momentum, momentum
