"""Validation under the attack that a network is trained against: accuracies and a picture, for TensorBoard."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfdefense.attacks import Attack
from tfdefense.attacks.core.attack import Model
from tfdefense.data.core.dataset import Split
from tfdefense.training.summaries import image_grid

_IMAGES = 500
_GRID_IMAGES = 8


def make_robust_validator(
    model: Model,
    attack: Attack,
    validation: Split,
    purify: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> Callable[[], tuple[dict, dict]]:
    """What `LearnedDefense.watch` returns, of a few images, clean and attacked with the model known.

    Args:
      model: what is trained, as it stands at each call.
      attack: on it.
      validation: clean images.
      purify: of a purifier, its images are shown too.
    """
    few = validation.take(_IMAGES)
    images, labels = tf.constant(few.images[:]), tf.constant(few.labels)

    @tf.function
    def attacked() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        adversarial = attack.traced_craft(model, images, labels, None).images
        return adversarial, model(images), model(adversarial)

    def see() -> tuple[dict, dict]:
        adversarial, clean_logits, logits = attacked()
        right = {
            "accuracy_clean": np.mean(np.argmax(clean_logits, -1) == few.labels),
            f"accuracy_{attack.name}": np.mean(np.argmax(logits, -1) == few.labels),
        }
        rows, name = [], "clean_then_adversarial"
        for shown in (images[:_GRID_IMAGES], adversarial[:_GRID_IMAGES]):
            rows.append(shown.numpy())
            if purify is not None:
                rows.append(purify(shown).numpy())
                name = "clean_then_adversarial_and_purified"
        return {key: float(value) for key, value in right.items()}, {name: image_grid(rows)}

    return see
