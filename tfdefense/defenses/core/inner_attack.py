"""The inner maximisation of adversarial training: what a network is attacked by while it learns to withstand it."""

import dataclasses

import tensorflow as tf

from tfdefense.attacks import FGSM, PGD, Attack, default_epsilon
from tfdefense.attacks.core import norms as norms_of
from tfdefense.attacks.pgd import PGD_STARTS
from tfdefense.defenses.core.defense import hyperparameter
from tfdefense.errors import require, unknown_name

INNER_ATTACKS = ("pgd", "fast", "fgsm")
# Wong, Rice, Kolter, "Fast is Better than Free", ICLR 2020, algorithm 3.
_FAST_STEP = 1.25
# The steps of PGD together could cross the ball from side to side.
_PGD_REACH = 2.5


@dataclasses.dataclass(frozen=True)
class InnerAttackConfig:
    """Hyperparameters of the inner attack.

    Raises:
      UserError: an unknown attack or norm, or a number out of range.
    """

    make_inner_attack: str = hyperparameter(
        "pgd",
        "what it trains against: pgd (Madry et al. 2018), fast (one step from a random start, Wong et al. 2020) or"
        " fgsm (one step from the image, Goodfellow et al. 2015)",
    )
    inner_norm: str = hyperparameter("linf", "norm of the inner attack: linf or l2")
    inner_epsilon: float | None = hyperparameter(
        None,
        "radius of the inner attack (default: 0.3 for grey images, 8/255 for colour; in l2 1.5 and 0.5)",
    )
    inner_steps: int = hyperparameter(10, "steps of the inner attack, if that is pgd")
    inner_start: str = hyperparameter(
        "uniform",
        "where pgd starts: uniform, anywhere in the ball, or blocks, at its corners, in blocks and stripes of one sign",
    )

    def __post_init__(self) -> None:
        if self.inner_attack not in INNER_ATTACKS:
            raise unknown_name("--inner_attack", self.inner_attack, INNER_ATTACKS)
        if self.inner_norm not in norms_of.NORMS:
            raise unknown_name("--inner_norm", self.inner_norm, norms_of.NORMS)
        epsilon = self.inner_epsilon
        if self.inner_norm == "linf":
            fits, needed = epsilon is None or 0 <= epsilon <= 1, "a number in [0, 1]"
        else:
            fits, needed = epsilon is None or epsilon >= 0, "0 or more"
        require(fits, f"--inner_epsilon={epsilon}: {needed} needed.")
        if self.inner_start not in PGD_STARTS:
            raise unknown_name("--inner_start", self.inner_start, PGD_STARTS)
        require(
            self.inner_start == "uniform"
            or (self.inner_attack, self.inner_norm) == ("pgd", "linf"),
            f"--inner_start={self.inner_start}: only for --inner_attack=pgd --inner_norm=linf.",
        )
        require(self.inner_steps >= 1, f"--inner_steps={self.inner_steps}: at least 1 needed.")


def inner_epsilon(config: InnerAttackConfig, image_shape: tuple[int, int, int]) -> float:
    """The radius, in the config's norm."""
    if config.inner_epsilon is not None:
        return config.inner_epsilon
    return default_epsilon(image_shape, config.inner_norm)


def make_inner_attack(
    config: InnerAttackConfig,
    image_shape: tuple[int, int, int],
    seed: int | tf.Tensor = 0,
    share: float | tf.Tensor = 1.0,
) -> Attack:
    """The attack, to be traced into a training step.

    Args:
      config: which.
      image_shape: (H, W, C), by which the radius goes where none is given.
      seed: draws random starts; the number of the step.
      share: of the radius, in [0, 1]; a tensor while it grows.
    """
    epsilon = inner_epsilon(config, image_shape)
    if tf.is_tensor(share) or share != 1.0:
        epsilon = tf.reshape(epsilon * share, [1, 1, 1, 1])
    bounds = {"epsilon": epsilon, "norm": config.inner_norm}
    if config.inner_attack == "fgsm":
        return FGSM(**bounds)
    if config.inner_attack == "fast":
        return PGD(**bounds, steps=1, relative_step_size=_FAST_STEP, seed=seed)
    steps = config.inner_steps
    size = min(1.0, _PGD_REACH / steps)
    return PGD(**bounds, steps=steps, relative_step_size=size, start=config.inner_start, seed=seed)
