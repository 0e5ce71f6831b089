"""Activations whose name means another function in Keras 3 than in Keras 2."""

from collections.abc import Mapping
from typing import Any

import keras

from tfdefense.training.keras_archive import rewrite_config

_RENAMED = "hard_sigmoid"


@keras.saving.register_keras_serializable("tfdefense")
def keras2_hard_sigmoid(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Return `clip(0.2 x + 0.5, 0, 1)`, of any shape; Keras 3 computes `relu6(x + 3) / 6`."""
    return keras.ops.clip(0.2 * inputs + 0.5, 0.0, 1.0)


def keep_activations(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration of Keras 2 whose activations compute in Keras 3 what they computed before.

    Args:
      config: of a model or layer, at any depth; it does not change.
    """
    kept = keras.activations.serialize(keras2_hard_sigmoid)

    def replace(part: dict[str, Any]) -> dict[str, Any]:
        renamed = {
            key for key, value in part.items() if key.endswith("activation") and _is_renamed(value)
        }
        return {**part, **dict.fromkeys(renamed, kept)}

    rewritten: dict[str, Any] = rewrite_config(config, replace)
    return rewritten


def _is_renamed(activation: Any) -> bool:
    """Return whether an activation, a name or the configuration of a function, is `hard_sigmoid`."""
    name = activation.get("config") if isinstance(activation, Mapping) else activation
    return bool(name == _RENAMED)
