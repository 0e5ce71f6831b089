"""Momentum iterative method: BIM along a running sum of gradients.

Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, algorithm 1.
"""

import dataclasses

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.iterative_attack import IterativeAttack
from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class MIM(IterativeAttack):
    """g_{t+1} = decay * g_t + grad_t / mean|grad_t| (equation 6), and a step along it (equation 7).

    Its images fool other models more often than those of BIM. The paper divides by the sum of
    absolute values. The mean, which cleverhans uses too, scales g and changes no step. The paper's
    steps have the length epsilon / `steps`, that is `relative_step_size=0.1` for ten steps; the
    default is that of BIM.

    Attributes:
      decay: factor of the earlier gradients, 0 or more; 0 is BIM.
    """

    name = "mim"
    summary = "The momentum iterative method (Dong et al. 2018)"
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.decay >= 0, f"{self.name}: decay {self.decay} given, 0 or more needed.")

    def update_direction(
        self, gradient: tf.Tensor, memory: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        # The mean of the scaled gradient is at least 1 / (H W C), so tiny gradients count fully.
        _, scaled = norms.scale_by_largest(gradient)
        mean = tf.reduce_mean(tf.abs(scaled), axis=(1, 2, 3), keepdims=True)
        momentum = self.decay * memory + tf.math.divide_no_nan(scaled, mean)
        return momentum, momentum
