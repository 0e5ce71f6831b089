"""Attacks of foolbox in our reports: `foolbox:NAME:key=value`.

NAME is a class of `foolbox.attacks`, or one of its short names such as `LinfPGD`. What is set here:
- `epsilons` is the epsilon of the report for an attack with a radius. An attack that minimises the
  perturbation has no radius unless `epsilon=...` is given. It then counts within that radius.
- `distance` is l2 for the attacks that need one; `distance=linf` chooses another.
- Labels are int64, which foolbox 3.3 needs on NumPy 2.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import foolbox
import tensorflow as tf

from tfdefense.adapters.foolbox import foolbox_model
from tfdefense.adapters.parameter_names import (
    check_parameter_names,
    check_parameter_types,
    parameter_defaults,
)
from tfdefense.attacks.core.counted_model import CountedModel
from tfdefense.attacks.core.foreign_attack import ForeignAttack
from tfdefense.attacks.core.foreign_batch import ForeignBatch
from tfdefense.attacks.core.foreign_facts import AttackFacts
from tfdefense.attacks.core.foreign_names import require_attack_name
from tfdefense.attacks.core.foreign_parameters import Value
from tfdefense.errors import UserError, require, short_reason, unknown_name

_REFUSED: Mapping[str, str] = {
    "BinarizationRefinementAttack": "needs adversarial images to refine",
    "DatasetAttack": "needs images of other classes",
    "GenAttack": "needs a target class for each image",
}
_DISTANCES = {name: getattr(foolbox.distances, name) for name in ("l0", "l1", "l2", "linf")}
_NORMS = {float("inf"): "linf", 2: "l2", 1: "l1", 0: "l0"}
# Attacks that aim at classes, as tried with foolbox 3.3.4.
_TARGETED = (
    "BoundaryAttack",
    "DDNAttack",
    "EADAttack",
    "HopSkipJumpAttack",
    "L0BrendelBethgeAttack",
    "L0FMNAttack",
    "L1BrendelBethgeAttack",
    "L1FMNAttack",
    "L2BrendelBethgeAttack",
    "L2CarliniWagnerAttack",
    "L2FMNAttack",
    "LInfFMNAttack",
    "LinfinityBrendelBethgeAttack",
)


@dataclasses.dataclass(frozen=True)
class FoolboxAttack(ForeignAttack):
    """Attack of `foolbox.attacks`; see `ForeignAttack` and this module."""

    library: ClassVar[str] = "foolbox"
    distribution: ClassVar[str] = "foolbox"

    @classmethod
    def find_facts(cls, method: str, values: Mapping[str, Value]) -> AttackFacts:
        attack = _make_attack(method, values)
        has_radius = isinstance(attack, foolbox.attacks.base.FixedEpsilonAttack)
        distance = getattr(attack, "distance", None)
        norm = "none" if distance is None else _NORMS[distance.p]
        name = type(attack).__name__
        is_iterative = isinstance(
            attack, foolbox.attacks.gradient_descent_base.BaseGradientDescent
        ) and not name.endswith("FastGradientAttack")
        return AttackFacts(
            norm=norm,
            needs_radius=has_radius,
            accepts_radius=norm in ("linf", "l2", "l1"),
            takes_targets=is_iterative or name in _TARGETED,
        )

    def generate(self, model: CountedModel, batch: ForeignBatch) -> Any:
        attack = _make_attack(self.method, self.values)
        if batch.targets is None:
            criterion = foolbox.criteria.Misclassification(tf.constant(batch.labels))
        else:
            criterion = foolbox.criteria.TargetedMisclassification(tf.constant(batch.targets))
        images = tf.constant(batch.images)
        _, clipped, _ = attack(foolbox_model(model), images, criterion, epsilons=self.epsilon)
        return clipped.numpy()


def _make_attack(method: str, values: Mapping[str, Value]) -> Any:
    """Return foolbox's attack.

    Raises:
      UserError: the attack or a parameter is unknown, or foolbox refuses a value.
    """
    require_attack_name("foolbox", method)
    label = f"foolbox:{method}"
    require(method not in _REFUSED, f"--attacks={label}: {_REFUSED.get(method)}; choose another.")
    kind = getattr(foolbox.attacks, method)
    defaults = parameter_defaults(kind, ("self",))
    check_parameter_names(values, list(defaults), label)
    check_parameter_types(values, kind, label)
    arguments: dict[str, Any] = dict(values)
    if "distance" in defaults:
        distance = arguments.get("distance", "l2")
        if distance not in _DISTANCES:
            raise unknown_name(f"--attacks={label}: distance", str(distance), _DISTANCES)
        arguments["distance"] = _DISTANCES[distance]
    for name, default in defaults.items():
        require(
            default is not inspect.Parameter.empty or name in arguments,
            f"--attacks={label}: needs {name}, which has no default.",
        )
    try:
        return kind(**arguments)
    except ModuleNotFoundError as error:
        raise UserError(
            f"--attacks={label}: needs the module {error.name}. Install it: pip install"
            f" {error.name}"
        ) from error
    except Exception as error:
        raise UserError(f"--attacks={label}: {short_reason(error)}") from error
