"""Adapter to foolbox: a classifier or defended pipeline as a foolbox model."""

import foolbox

from tfdefense.attacks.core.model import Model


def foolbox_model(model: Model) -> foolbox.TensorFlowModel:
    """Return `model` for the attacks of foolbox.

    foolbox 3.3 needs int64 labels on NumPy 2.

    Args:
      model: function from images float32 [N, H, W, C] in [0, 1] to logits, such as
        `defense.defend()`.
    """
    return foolbox.TensorFlowModel(model, bounds=(0, 1))
