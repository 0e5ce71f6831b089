"""Basic iterative method: FGSM in small steps, from the image itself.

Kurakin, Goodfellow, Bengio, "Adversarial Examples in the Physical World", ICLR 2017 workshop,
section 2.2.
"""

import dataclasses

from tfdefense.attacks.core.iterative_attack import IterativeAttack


@dataclasses.dataclass(frozen=True)
class BIM(IterativeAttack):
    """x_0 = x, x_{t+1} = clip_{x, epsilon}(x_t + size * sign(grad_x cross_entropy(f(x_t), y)))."""

    name = "bim"
    summary = "The basic iterative method: FGSM in small steps (Kurakin et al. 2017)"
