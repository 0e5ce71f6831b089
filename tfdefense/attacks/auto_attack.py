"""AutoAttack: APGD-CE, APGD-T, FAB-T and Square in turn.

Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks", ICML 2020, section 6. Steps, restarts, target classes, queries and schedules
are those of the published code, with these deviations:
- Random numbers are a function of the image and the seed. The original draws the squares and the
  random starts per batch, so that its result depends on the batch.
- In "standard", an image stops at its first success. That changes no accuracy.
- Models with fewer than ten classes are attacked with all their wrong classes as targets; the
  original stops with an error.
- In "rand", losses and predictions are means over the draws, like the gradients. The original takes
  them from the last draw alone, so that one lucky draw counts as a success.
"""

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from tfdefense.attacks.apgd import APGDCE, APGDDLR, APGDT
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.attack_cost import AttackCost
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.bounded_attack import BoundedAttack
from tfdefense.attacks.core.expectation import Expectation, num_draws
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.fab import FABT
from tfdefense.attacks.square import Square
from tfdefense.attacks.strongest_of import BatchInTurn, StrongestOf, attack_in_turn
from tfdefense.errors import unknown_name

_DRAWS = 20  # In version "rand".


@dataclasses.dataclass(frozen=True)
class AutoAttack(BoundedAttack):
    """Standard attack of RobustBench: each part attacks the images that withstand those before it.

    The targeted DLR loss of APGD-T needs four classes. For three classes APGD-DLR takes its place,
    and for two classes there is neither.

    Attributes:
      version: "standard", or "rand" for randomised models: APGD-CE and APGD-DLR on an `Expectation`
        of 20 draws, unless the model is an `Expectation` already. If the model is not an
        `Expectation`, `run` judges success by one prediction. The targeted variant makes no
        `Expectation`: give it one as the model.
      seed: seed of all random starts and squares.

    Raises:
      UserError: an attribute is out of range.
    """

    name = "auto_attack"
    summary = (
        "The standard of RobustBench: APGD-CE, APGD-T, FAB-T and Square in turn (Croce, Hein 2020)"
    )
    has_parts: ClassVar[bool] = True
    version: str = "standard"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version not in ("standard", "rand"):
            raise unknown_name(f"{self.name}: version", self.version, ("standard", "rand"))

    @property
    def draws(self) -> int:
        """Draws over which it averages a model that is no `Expectation` itself."""
        return _DRAWS if self.version == "rand" else 1

    @property
    def min_side(self) -> int:
        return 1 if self.version == "rand" else Square(norm=self.norm).min_side

    def attacks(self, num_classes: int) -> tuple[Attack, ...]:
        """Return the parts for a model of so many classes, in order."""
        bounds: dict[str, Any] = {"epsilon": self.epsilon, "norm": self.norm}
        seeded: dict[str, Any] = {**bounds, "seed": self.seed}
        is_standard = self.version == "standard"
        stopping: dict[str, Any] = {**seeded, "stop_at_success": is_standard}
        dlr = (APGDDLR(**stopping),) if num_classes >= 3 else ()
        if not is_standard:
            return APGDCE(**stopping), *dlr
        ratio = (APGDT(**stopping),) if num_classes >= 4 else dlr
        square = Square(**seeded, rescale_schedule=False)
        return APGDCE(**stopping), *ratio, FABT(**bounds), square

    def targeted_variant(self, num_classes: int) -> StrongestOf:
        # FAB-T takes no targets; the targeted DLR loss needs four classes.
        unfit = (FABT, APGDDLR) if num_classes < 4 else FABT
        parts = self.attacks(num_classes)
        fit = [attack for attack in parts if not isinstance(attack, unfit)]
        return StrongestOf(fit, stop_at_success=self.version == "standard")

    def largest_cost(self, image_shape: tuple[int, ...], num_classes: int) -> AttackCost:
        parts = StrongestOf(self.attacks(num_classes)).largest_cost(image_shape, num_classes)
        assert parts is not None
        return parts.times(self.draws)

    def craft(
        self, model: Model, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None
    ) -> AdversarialBatch:
        given_draws = num_draws(model)
        if self.version == "rand" and not isinstance(model, Expectation):
            model = Expectation(model, self.draws)
        logits = model(images)
        batch = BatchInTurn(images, labels, targets, self.radius_per_image(images))
        found = attack_in_turn(self.attacks(logits.shape[1]), model, batch, logits)
        factor = num_draws(model) // given_draws
        return found._replace(queries=factor * found.queries, gradients=factor * found.gradients)
