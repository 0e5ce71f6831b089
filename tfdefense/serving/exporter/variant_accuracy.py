"""Accuracy of an exported variant compared with the defence that it was made from."""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfdefense.attacks import FGSM, default_epsilon
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.serving.client.local_client import open_model
from tfdefense.serving.client.model_client import ModelClient
from tfdefense.training.distribute.batching import map_batches
from tfdefense.utils.batch_size import fitting_batch_size

_MAX_IMAGES = 1_000


@dataclasses.dataclass(frozen=True)
class VariantAccuracy:
    """Results of the defence and of the variant on the same images.

    Attributes:
      images: description of the images.
      n: number of images.
      defense_correct: images that the defence classifies correctly.
      variant_correct: images that the variant classifies correctly.
      same_class: images for which both return the same class.
      max_logit_difference: largest absolute difference between two logits.
      same_refusal: images that both refuse or both accept; None for a defence without a detector.
    """

    images: str
    n: int
    defense_correct: int
    variant_correct: int
    same_class: int
    max_logit_difference: float
    same_refusal: int | None = None


def measure_variant_accuracy(
    defense: Defense, path: Path, test: Split, max_batch: int
) -> list[VariantAccuracy]:
    """Compare a variant with its defence on clean and on grey-box FGSM images.

    Args:
      defense: the exported defence.
      path: directory of the exported variant.
      test: test images, of which the first 1,000 are used, or `defense.budget.images` if that is
        less.
      max_batch: the largest request that the variant accepts.
    """
    test = test.take(min(_MAX_IMAGES, defense.budget.images or _MAX_IMAGES))
    attack = FGSM(epsilon=default_epsilon(test.image_shape))
    adversarial = ModelRunner(defense.classifier).attack(attack, test)
    splits = {"clean": test, f"{attack.name} {attack.epsilon:.3g}, grey box": adversarial}
    batch_size = fitting_batch_size(test.image_shape, min(defense.batch_size, max_batch))
    model = open_model(path)
    return [_compare(name, defense, model, split, batch_size) for name, split in splits.items()]


def _compare(
    name: str, defense: Defense, model: ModelClient, split: Split, batch_size: int
) -> VariantAccuracy:
    pipeline = defense.defend()
    names = ("logits", "refused") if defense.detects else ("logits",)

    def defense_outputs(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = {"logits": pipeline(images)}
        return outputs | (
            {"refused": defense.detector_score(images) > 0} if defense.detects else {}
        )

    def variant_outputs(part: slice) -> dict[str, np.ndarray]:
        outputs = model.predict("serving_default", np.asarray(split.images[part]))
        return {name: outputs[name] for name in names}

    title = f"comparing on {name} images"
    before = ModelRunner(pipeline, batch_size).run_batches(defense_outputs, split, title)
    after = map_batches(variant_outputs, len(split), batch_size, title)
    classes_before, classes_after = before["logits"].argmax(-1), after["logits"].argmax(-1)
    return VariantAccuracy(
        name,
        len(split),
        int(np.sum(classes_before == split.labels)),
        int(np.sum(classes_after == split.labels)),
        int(np.sum(classes_before == classes_after)),
        float(np.max(np.abs(before["logits"] - after["logits"]))),
        int(np.sum(before["refused"] == after["refused"])) if defense.detects else None,
    )
