"""A classifier or defended pipeline as a model of foolbox."""

import foolbox

from tfdefense.attacks.core.attack import Model


def foolbox_model(model: Model) -> foolbox.TensorFlowModel:
    """`model` for foolbox's attacks.

    foolbox 3.3 wants int64 labels on NumPy 2.

    Args:
      model: images float32 [N, H, W, C] in [0, 1] -> logits, such as `defense.defend()`.
    """
    return foolbox.TensorFlowModel(model, bounds=(0, 1))
