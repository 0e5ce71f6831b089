"""White-box validation during training, under the attack that a network is trained against."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfdefense.attacks import Attack
from tfdefense.attacks.core.model import Model
from tfdefense.data.core.dataset import Split
from tfdefense.training.distribute.batching import map_batches, split_over_replicas
from tfdefense.training.summaries import GRID_IMAGES, image_grid
from tfdefense.training.task import VALIDATION_IMAGES, ImageGrids, Scalars, Validate
from tfdefense.utils.batch_size import fitting_batch_size


def make_robust_validator(
    model: Model,
    attack: Attack,
    validation: Split,
    purify: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> Validate:
    """Return a function that computes accuracies on clean and on attacked images, and a picture.

    Args:
      model: model that is being trained; each call of the function attacks its current weights.
      attack: white-box attack on the model.
      validation: held-out clean images, of which up to 500 are used.
      purify: if given, the picture also shows purified images.
    """
    few = validation.take(VALIDATION_IMAGES)
    batch_size = fitting_batch_size(few.image_shape, len(few))

    def attack_and_classify(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        adversarial = attack.craft_in_graph(model, images, labels, None).images
        return adversarial, model(images), model(adversarial)

    compiled = tf.function(
        split_over_replicas(attack_and_classify), autograph=False, reduce_retracing=True
    )

    def run(part: slice) -> tuple[tf.Tensor, ...]:
        images, labels = tf.constant(few.images[part]), tf.constant(few.labels[part])
        adversarial, *logits = compiled(images, labels)
        # Of large pictures, 500 adversarial ones need gigabytes, and only the first ones are shown.
        return adversarial[: max(0, GRID_IMAGES - part.start)], *logits

    def validate() -> tuple[Scalars, ImageGrids]:
        adversarial, clean_logits, adversarial_logits = map_batches(run, len(few), batch_size)
        scalars = {
            "accuracy_clean": _accuracy(clean_logits, few.labels),
            f"accuracy_{attack.name}": _accuracy(adversarial_logits, few.labels),
        }
        rows, name = [], "clean_then_adversarial"
        for shown in (few.images[:GRID_IMAGES], adversarial):
            rows.append(shown)
            if purify is not None:
                rows.append(purify(tf.constant(shown)).numpy())
                name = "clean_then_adversarial_and_purified"
        return scalars, {name: image_grid(rows)}

    return validate


def _accuracy(logits: tf.Tensor, labels: np.ndarray) -> float:
    return float(np.mean(np.argmax(logits, -1) == labels))
