"""Inner maximisation of adversarial training: the attack that a network learns to withstand."""

import dataclasses
import math

import tensorflow as tf

from tfdefense.attacks import FGSM, PGD, default_epsilon
from tfdefense.attacks.core.bounded_attack import BoundedAttack
from tfdefense.attacks.core.norms import NORMS
from tfdefense.attacks.pgd import PGD_STARTS
from tfdefense.defenses.core.hyperparameters import hyperparameter
from tfdefense.defenses.core.noise_fgsm import NoiseFGSM
from tfdefense.errors import require, unknown_name

INNER_ATTACKS = ("pgd", "fast", "fgsm", "nfgsm")
_ONE_STEP = ("fast", "fgsm", "nfgsm")
# Steps of the PGD that validates a training with one step.
_VALIDATION_STEPS = 10
# Step size over epsilon: Wong, Rice, Kolter, "Fast is Better than Free", ICLR 2020, algorithm 3.
_FAST_STEP = 1.25
# Sum of all PGD steps over epsilon, so that PGD can cross the ball.
_PGD_REACH = 2.5


@dataclasses.dataclass(frozen=True)
class InnerAttackConfig:
    """Hyperparameters of the inner attack.

    Raises:
      UserError: an unknown attack, norm or start, or a number out of range.
    """

    inner_attack: str = hyperparameter(
        "pgd",
        "attack to train against: pgd (Madry et al. 2018), fast (one step from a random start, Wong"
        " et al. 2020), fgsm (one step from the image, Goodfellow et al. 2015) or nfgsm (one step from"
        " a noisy image, de Jorge et al. 2022)",
    )
    inner_norm: str = hyperparameter("linf", "norm of the inner attack: linf or l2")
    inner_epsilon: float | None = hyperparameter(
        None,
        "epsilon of the inner attack (default: 0.3 for grey images, 8/255 for colour; in l2 1.5 and"
        " 0.5)",
    )
    inner_steps: int = hyperparameter(10, "steps of the inner attack, if it is pgd")
    inner_start: str = hyperparameter(
        "uniform",
        "random start of pgd: uniform in the ball, or blocks: at its corners, with one sign for each"
        " block or stripe",
    )
    inner_noise: float = hyperparameter(
        NoiseFGSM.noise,
        "largest noise of the inner attack, if it is nfgsm, in multiples of epsilon; less noise keeps more"
        " clean accuracy, and risks overfitting to the single step",
        omit_default=True,
    )

    def __post_init__(self) -> None:
        if self.inner_attack not in INNER_ATTACKS:
            raise unknown_name("--inner_attack", self.inner_attack, INNER_ATTACKS)
        if self.inner_norm not in NORMS:
            raise unknown_name("--inner_norm", self.inner_norm, NORMS)
        epsilon, largest = self.inner_epsilon, 1.0 if self.inner_norm == "linf" else math.inf
        # Older runs may have 0: see `check_new_inner_attack`.
        require(epsilon is None or 0 <= epsilon <= largest, _epsilon_error(self))
        if self.inner_start not in PGD_STARTS:
            raise unknown_name("--inner_start", self.inner_start, PGD_STARTS)
        require(
            self.inner_start == "uniform"
            or (self.inner_attack, self.inner_norm) == ("pgd", "linf"),
            f"--inner_start={self.inner_start}: only for --inner_attack=pgd --inner_norm=linf.",
        )
        require(self.inner_steps >= 1, f"--inner_steps={self.inner_steps}: at least 1 is needed.")
        require(
            self.inner_attack != "nfgsm" or self.inner_norm == "linf",
            f"--inner_norm={self.inner_norm}: --inner_attack=nfgsm needs linf.",
        )
        noise = self.inner_noise
        require(0 <= noise < math.inf, f"--inner_noise={noise}: 0 or more is needed.")

    @property
    def rising_fraction(self) -> float:
        """Fraction of the training during which epsilon grows."""
        return 0.0

    @property
    def needs_probe(self) -> bool:
        """True if an `OverfittingProbe` watches the training: with N-FGSM."""
        return self.inner_attack == "nfgsm"


def check_new_inner_attack(config: InnerAttackConfig) -> None:
    """Check what a new training needs and older runs may lack: an epsilon above 0.

    Raises:
      UserError: epsilon is 0.
    """
    require(config.inner_epsilon != 0, _epsilon_error(config))


def make_inner_attack(
    config: InnerAttackConfig,
    image_shape: tuple[int, int, int],
    seed: int | tf.Tensor = 0,
    fraction: float | tf.Tensor = 1.0,
) -> BoundedAttack:
    """Return the attack, to be traced into a training step.

    Args:
      config: hyperparameters of the attack.
      image_shape: [H, W, C]; the default epsilon depends on it.
      seed: seed of random starts, in training the number of the step.
      fraction: fraction of epsilon in [0, 1], a tensor while epsilon grows.
    """
    norm = config.inner_norm
    epsilon = config.inner_epsilon
    if epsilon is None:
        epsilon = default_epsilon(image_shape, norm)
    if tf.is_tensor(fraction) or fraction != 1.0:
        epsilon = tf.reshape(epsilon * fraction, [1, 1, 1, 1])
    if config.inner_attack == "fgsm":
        return FGSM(epsilon=epsilon, norm=norm)
    if config.inner_attack == "nfgsm":
        return NoiseFGSM(epsilon=epsilon, seed=seed, noise=config.inner_noise)
    if config.inner_attack == "fast":
        return PGD(epsilon=epsilon, norm=norm, steps=1, relative_step_size=_FAST_STEP, seed=seed)
    return PGD(
        epsilon=epsilon,
        norm=norm,
        steps=config.inner_steps,
        relative_step_size=min(1.0, _PGD_REACH / config.inner_steps),
        start=config.inner_start,
        seed=seed,
    )


def make_validation_attack(
    config: InnerAttackConfig, image_shape: tuple[int, int, int]
) -> BoundedAttack:
    """Return the attack that validates a network: the inner one, or PGD if that has one step.

    A network can learn to withstand a single step alone (Wong et al. 2020, section 5). Ten steps of
    PGD in the same ball reveal it.
    """
    if config.inner_attack in _ONE_STEP:
        config = dataclasses.replace(config, inner_attack="pgd", inner_steps=_VALIDATION_STEPS)
    return make_inner_attack(config, image_shape)


def _epsilon_error(config: InnerAttackConfig) -> str:
    allowed = "above 0 and up to 1" if config.inner_norm == "linf" else "more than 0"
    return f"--inner_epsilon={config.inner_epsilon}: {allowed} is needed."
