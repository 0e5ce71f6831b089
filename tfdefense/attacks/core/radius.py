"""The radius of an attack, which is an argument of compiled attacks."""

import dataclasses
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from tfdefense.attacks.core.attack import Attack


def with_epsilon(attack: "Attack", epsilon: float | tf.Tensor) -> "Attack":
    """Return `attack` with another radius; the same attack if it has none."""
    if getattr(attack, "epsilon", None) is None:
        return attack
    return dataclasses.replace(attack, **{"epsilon": epsilon})
