"""The worst case over several attacks, image by image; AutoAttack is one such set."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar

import tensorflow as tf

from tfdefense.attacks.apgd import APGDCE, APGDDLR, APGDT
from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack import Attack, BoundedAttack, Crafted, Model
from tfdefense.attacks.core.gradients import fooled
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.fab import FABT
from tfdefense.attacks.square import Square
from tfdefense.errors import require, unknown_name


def enable_stop_at_success(attack: Attack) -> Attack:
    """`attack` for the case that the attacked model is also the judge: it keeps its successes."""
    if hasattr(attack, "stop_at_success"):
        return dataclasses.replace(attack, stop_at_success=True)
    return attack


@dataclasses.dataclass(frozen=True)
class StrongestOf(Attack):
    """Attacks in turn, each only on the images that withstood those before it.

    An image that withstands them all comes back as it was. Put attacks of the same epsilon in it: one
    without (DeepFool, JSMA, C&W) fools every image in the end, from however far.

    Attributes:
      attacks: at least one; their radii are numbers.

    Raises:
      UserError: no attack, or one with a radius for each image.
    """

    name = "strongest_of"
    takes_targets: ClassVar[bool] = True

    attacks: Sequence[Attack] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacks", tuple(self.attacks))
        require(len(self.attacks) > 0, f"{self.name}: no attacks given, at least one needed.")
        for attack in self.attacks:
            require(
                not tf.is_tensor(getattr(attack, "epsilon", None)),
                f"{self.name}: {attack.name} with an epsilon for each image given, one number needed.",
            )

    @property
    def least_classes(self) -> int:
        """Of the model, so that each attack can be."""
        return max(attack.least_classes for attack in self.attacks)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        return _in_turn(self.attacks, model, images, labels, targets, model(images))


@dataclasses.dataclass(frozen=True)
class AutoAttack(BoundedAttack):
    """The standard of RobustBench: APGD-CE, APGD-T, FAB-T, Square, each on what still stands.

    Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
    Parameter-free Attacks", ICML 2020, section 6. Against fewer than four classes, which APGD-T's
    loss needs, APGD-DLR takes its place (for two classes, none does).

    Attributes:
      version: "standard", or "rand" for randomised models: APGD-CE and APGD-DLR; give the model as
        an `Expectation` of 20 draws.
      seed: of all starts and squares.

    Raises:
      UserError: an attribute out of range.
    """

    name = "auto_attack"
    version: str = "standard"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version not in ("standard", "rand"):
            raise unknown_name(f"{self.name}: version", self.version, ("standard", "rand"))

    def attacks(self, num_classes: int) -> tuple[Attack, ...]:
        """What it consists of, against so many classes."""
        radius = {"epsilon": self.epsilon, "norm": self.norm}
        seeded = {**radius, "seed": self.seed}
        dlr = (APGDDLR(**seeded),) if num_classes >= 3 else ()
        if self.version == "rand":
            return APGDCE(**seeded), *dlr
        ratio = (APGDT(**seeded),) if num_classes >= 4 else dlr
        return APGDCE(**seeded), *ratio, FABT(**radius), Square(**seeded)

    def aiming(self, num_classes: int) -> StrongestOf:
        # Its loss needs four classes to aim at one of them.
        unfit = (FABT, APGDDLR) if num_classes < 4 else FABT
        members = self.attacks(num_classes)
        return StrongestOf([attack for attack in members if not isinstance(attack, unfit)])

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> Crafted:
        logits = model(images)
        attacks = self.attacks(logits.shape[1])
        return _in_turn(attacks, model, images, labels, targets, logits, self.radii(images))


def _in_turn(
    attacks: Sequence[Attack],
    model: Model,
    images: tf.Tensor,
    labels: tf.Tensor,
    targets: tf.Tensor | None,
    logits: tf.Tensor,
    epsilon: tf.Tensor | None = None,
) -> Crafted:
    """Each attack on the rows that still stand; with these radii, where there are any."""

    def attempt(attack: Attack) -> Callable[..., tuple]:
        def step(number: tf.Tensor, state: tuple, constants: tuple) -> tuple:
            del number
            adversarial, fell, queries, gradients, blind = state
            images, labels, targets, epsilon = constants
            bounded = attack if epsilon is None else dataclasses.replace(attack, epsilon=epsilon)
            crafted = bounded.traced_craft(model, images, labels, targets)
            fell = fooled(model(crafted.images), labels, targets)
            state = (
                tf.where(norms.expand_per_image(fell), crafted.images, adversarial),
                fell,
                queries + crafted.queries + 1,
                gradients + crafted.gradients,
                blind | crafted.no_gradient,
            )
            return state, ~fell

        return step

    counts = tf.zeros_like(labels)
    state = (images, fooled(logits, labels, targets), counts + 1, counts, counts > 0)
    for attack in map(enable_stop_at_success, attacks):
        constants = (images, labels, targets, epsilon)
        state = masked_while_loop(attempt(attack), state, ~state[1], 1, constants)
    adversarial, _, queries, gradients, blind = state
    return Crafted(adversarial, queries, gradients, blind)
