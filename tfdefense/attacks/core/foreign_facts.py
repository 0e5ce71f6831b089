"""Properties of attacks of other libraries, and the checks of their radius."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tfdefense.attacks.core import norms
from tfdefense.errors import require

_DEFAULT_RADII: Mapping[str, float] = {"linf": 0.3, "l2": 1.5}


class AttackFacts(NamedTuple):
    """Properties of an attack of another library.

    Attributes:
      norm: norm of the radius, or of what the attack minimises: "linf", "l2", "l1", "l0", or
        "none".
      needs_radius: true if the attack has a radius.
      accepts_radius: true if it may have one.
      takes_targets: true if it can aim at classes.
      min_classes: smallest number of classes of a model.
    """

    norm: str
    needs_radius: bool
    accepts_radius: bool
    takes_targets: bool
    min_classes: int = 2

    def take_radius(self, values: dict[str, Any], flag: str) -> float | None:
        """Remove the radius from the parameters of an attack that may have one, and return it.

        Args:
          values: parameters by name.
          flag: the attack as the user gave it, for error messages.

        Raises:
          UserError: the radius is no number.
        """
        radius = values.pop("epsilon", None) if self.accepts_radius else None
        require(
            radius is None or type(radius) in (int, float),
            f"--attacks={flag}: epsilon={radius}, a number needed.",
        )
        return radius

    def check_radius(self, epsilon: float | None, label: str) -> float | None:
        """Return the radius, or the default one if it is None and the attack needs one.

        Args:
          epsilon: radius as given.
          label: the attack, for error messages.

        Raises:
          UserError: the attack has no radius, needs one in a norm without a default, or the radius
            is out of range.
        """
        if epsilon is None and self.needs_radius:
            epsilon = _DEFAULT_RADII.get(self.norm)
            require(
                epsilon is not None,
                f"--attacks={label}: epsilon, the radius in {self.norm}, is needed, for example"
                f" {label}:epsilon=10.",
            )
        require(
            epsilon is None or self.accepts_radius,
            f"--attacks={label}: epsilon given, but this attack has no radius.",
        )
        if epsilon is not None:
            norms.check_radius(float(epsilon), "linf" if self.norm == "linf" else "l2", label)
        return epsilon
