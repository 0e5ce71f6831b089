"""Attacks of cleverhans in our reports: `cleverhans:NAME:key=value`.

NAME is a function of `cleverhans.tf2.attacks`. What is set here and not by the user:
- `eps` is the epsilon of the report; `clip_min` and `clip_max` are 0 and 1.
- `eps_iter`, `nb_iter` and `norm`, which have no defaults in cleverhans, have those of our attacks:
  `basic_iterative_method` makes 10 steps of epsilon / 4, `projected_gradient_descent` and
  `madry_et_al` make 40 steps of epsilon / 30 from a random start, in Linf. The default step of
  `momentum_iterative_method` is epsilon / 5, its default share of `eps`. `spsa` makes 100 steps.
- The faults of cleverhans 4.0.0 are repaired: see `cleverhans_repairs`.
"""

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from cleverhans.tf2 import attacks

from tfdefense.adapters.cleverhans_repairs import RepairedCarliniWagnerL2, repaired_cleverhans
from tfdefense.adapters.parameter_names import check_parameter_names, parameter_defaults
from tfdefense.attacks.core.counted_model import CountedModel
from tfdefense.attacks.core.foreign_attack import ForeignAttack
from tfdefense.attacks.core.foreign_batch import ForeignBatch
from tfdefense.attacks.core.foreign_facts import AttackFacts
from tfdefense.attacks.core.foreign_names import require_attack_name
from tfdefense.attacks.core.foreign_parameters import Value
from tfdefense.errors import require

_CARLINI = "carlini_wagner_l2"
_RESERVED = (
    *("self", "model_fn", "x", "y", "targeted", "clip_min", "clip_max", "loss_fn"),
    *("sanity_checks", "is_debug", "batch_size"),
)
# Defaults for parameters without one, and in place of steps of a fixed size.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "basic_iterative_method": {"nb_iter": 10, "norm": np.inf},
    "fast_gradient_method": {"norm": np.inf},
    "madry_et_al": {"nb_iter": 40, "norm": np.inf},
    "projected_gradient_descent": {"nb_iter": 40, "norm": np.inf, "rand_init": True},
    "spsa": {"nb_iter": 100},
}
_RELATIVE_STEPS: Mapping[str, float] = {
    "basic_iterative_method": 1 / 4,
    "madry_et_al": 1 / 30,
    "momentum_iterative_method": 1 / 5,
    "projected_gradient_descent": 1 / 30,
}
_COUNTS = ("_steps", "_iters", "_iterations", "_samples")  # Ends of the names of counts.
_NORMS: Mapping[Any, str] = {"inf": "linf", np.inf: "linf", 2: "l2"}


@dataclasses.dataclass(frozen=True)
class CleverhansAttack(ForeignAttack):
    """Attack of `cleverhans.tf2.attacks`; see `ForeignAttack` and this module."""

    library: ClassVar[str] = "cleverhans"
    distribution: ClassVar[str] = "cleverhans"

    def __post_init__(self) -> None:
        super().__post_init__()
        step = self.values.get("eps_iter")
        require(
            step is None or self.epsilon is None or float(step) <= self.epsilon,
            f"--attacks={self.label}: eps_iter={step}, at most epsilon ({self.epsilon}) needed.",
        )

    @classmethod
    def find_facts(cls, method: str, values: Mapping[str, Value]) -> AttackFacts:
        defaults = parameter_defaults(_find_function(method), _RESERVED)
        known = [name for name in defaults if name != "eps"]
        check_parameter_names(values, known, f"cleverhans:{method}")
        _check_values(method, values)
        norm = values.get("norm", np.inf)
        require(
            norm in _NORMS,
            f"--attacks=cleverhans:{method}: norm={norm}, inf or 2 needed.",
        )
        is_bounded = "eps" in defaults
        return AttackFacts(
            norm=_NORMS[norm] if is_bounded else "l2",
            needs_radius=is_bounded,
            accepts_radius=is_bounded,
            takes_targets=True,
        )

    def generate(self, model: CountedModel, batch: ForeignBatch) -> Any:
        with repaired_cleverhans():
            if self.method == _CARLINI:
                return self._minimize(model, batch)
            if self.method == "spsa":
                rows = range(len(batch.images))
                parts = [self._perturb(model, batch.select(np.array([row]))) for row in rows]
                return np.concatenate(parts)
            return self._perturb(model, batch)

    def _perturb(self, model: CountedModel, batch: ForeignBatch) -> np.ndarray:
        """Return the images of a function with a radius."""
        function = _find_function(self.method)
        known = inspect.signature(function).parameters
        values: dict[str, Any] = {**_DEFAULTS.get(self.method, {}), **self.values}
        if values.get("norm") == "inf":
            values["norm"] = np.inf
        if self.method in _RELATIVE_STEPS and self.epsilon is not None:
            values.setdefault("eps_iter", _RELATIVE_STEPS[self.method] * self.epsilon)
            if "rand_minmax" in known:
                values.setdefault("rand_minmax", self.epsilon)
        if "sanity_checks" in known:
            values["sanity_checks"] = False
        is_targeted = batch.targets is not None
        labels = tf.constant(batch.targets if is_targeted else batch.labels)
        images = function(
            model,
            tf.constant(batch.images),
            eps=self.epsilon,
            clip_min=0.0,
            clip_max=1.0,
            y=labels,
            targeted=is_targeted,
            **values,
        )
        return np.asarray(images)

    def _minimize(self, model: CountedModel, batch: ForeignBatch) -> np.ndarray:
        """Return the images of `carlini_wagner_l2`, one after the other."""
        values: dict[str, Any] = self.values
        constant = values.pop("initial_const", 1e-2) / batch.images[0].size
        options = {**values, "initial_const": constant, "batch_size": 1}
        if batch.targets is None:
            return RepairedCarliniWagnerL2(model, **options).attack(batch.images)
        parts = [
            RepairedCarliniWagnerL2(model, y=batch.targets[row : row + 1], **options).attack(
                batch.images[row : row + 1]
            )
            for row in range(len(batch.images))
        ]
        return np.concatenate(parts)


def _find_function(method: str) -> Callable[..., Any]:
    """Return the function of an attack, or the class of C&W, whose function takes any keyword."""
    require_attack_name("cleverhans", method)
    if method == _CARLINI:
        return RepairedCarliniWagnerL2.__base__
    return getattr(importlib.import_module(f"{attacks.__name__}.{method}"), method)


def _check_values(method: str, values: Mapping[str, Value]) -> None:
    """Raise `UserError` for a value of the wrong type; cleverhans has no annotations.

    Counts are named nb_..., ..._steps, ..._iters, ..._iterations or ..._samples.
    """
    label = f"--attacks=cleverhans:{method}"
    for name, value in values.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in ("rand_init", "abort_early"):
            require(isinstance(value, bool), f"{label}: {name}={value}, True or False needed.")
        elif name.startswith("nb_") or name.endswith(_COUNTS):
            is_count = isinstance(value, int) and is_number and value >= 1
            require(is_count, f"{label}: {name}={value}, a whole number of 1 or more needed.")
            is_odd = isinstance(value, int) and value % 2 == 1
            require(
                name != "spsa_samples" or not is_odd,
                f"{label}: {name}={value}, an even number needed.",
            )
        elif name == "early_stop_loss_threshold":
            require(is_number or value is None, f"{label}: {name}={value}, a number needed.")
        elif name != "norm":
            require(is_number, f"{label}: {name}={value}, a number needed.")
