"""What a smaller or faster variant keeps of the accuracy of the defence that it was made from."""

import dataclasses
from pathlib import Path

import numpy as np

from tfdefense.attacks import FGSM, default_epsilon
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.evaluation.runner import Judge
from tfdefense.serving.client.local import open_model
from tfdefense.training.distribute.batching import in_batches

_IMAGES = 1_000


@dataclasses.dataclass(frozen=True)
class Kept:
    """Defence and variant on the same images.

    Attributes:
      images: what they are.
      n: how many.
      before, after: how many the defence, and the variant, classifies correctly.
      same: on how many they agree.
      furthest: the greatest difference of two logits.
    """

    images: str
    n: int
    before: int
    after: int
    same: int
    furthest: float


def kept_accuracy(defense: Defense, path: Path, test: Split) -> list[Kept]:
    """Compares on clean test images and on FGSM examples of them made against the classifier alone.

    Args:
      defense: what was exported.
      path: where to.
      test: 1,000 of its images are taken (as many as the defence is usually judged by, if those are fewer).
    """
    test = test.take(min(_IMAGES, defense.judged_images or _IMAGES))
    attack = FGSM(epsilon=default_epsilon(test.image_shape))
    attacked = Judge(defense.classifier).attack(attack, test)
    splits = {"clean": test, f"{attack.name} {attack.epsilon:.3g}, grey box": attacked}
    return [_compared(name, defense, path, split) for name, split in splits.items()]


def _compared(name: str, defense: Defense, path: Path, split: Split) -> Kept:
    model, pipeline = open_model(path), defense.defend()

    def logits(part: slice) -> np.ndarray:
        return model.predict("serving_default", np.asarray(split.images[part]))["logits"]

    what = f"comparing on {name} images"
    before = Judge(pipeline, defense.batch_size).ask(pipeline, split, what)
    after = in_batches(logits, len(split), defense.batch_size, what)
    classes = before.argmax(-1), after.argmax(-1)
    return Kept(
        name,
        len(split),
        int(np.sum(classes[0] == split.labels)),
        int(np.sum(classes[1] == split.labels)),
        int(np.sum(classes[0] == classes[1])),
        float(np.max(np.abs(before - after))),
    )
