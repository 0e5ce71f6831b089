"""Attacks on a split, with adversarial images that are stored and reused."""

import contextlib
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import keras

from tfdefense.attacks import Attack, Expectation
from tfdefense.attacks.core.adversarial_dataset import (
    AdversarialDataset,
    load_adversarial_dataset,
)
from tfdefense.attacks.core.adversarial_dataset_maker import (
    AdversarialStorage,
    adversarial_directory,
    count_missing_images,
    make_adversarial_dataset,
)
from tfdefense.attacks.core.each_surrogate import surrogate_names
from tfdefense.attacks.core.expectation import num_draws
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import DefendedClassifier
from tfdefense.errors import DirectoryLockedError, UserError
from tfdefense.evaluation.attack_time import PlannedAttack
from tfdefense.evaluation.attacked_images import COST_NAMES, AttackedImages, attacked_images
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.training.distribute import multi_worker
from tfdefense.utils.file_lock import release_directory

AttackedModel = FrozenClassifier | DefendedClassifier | Expectation

# An interrupted attack resumes at the next shard. A shard of AutoAttack on ten classes has 80 images,
# which take minutes on a small network.
_PASSES_PER_SHARD = 1_000_000
_FEWEST_IMAGES = 25


class AttackedSplit(NamedTuple):
    """Result of an attack on a split.

    Attributes:
      split: adversarial images with the true classes and the cost of each.
      saved_seconds: time that was saved because images were stored. It is negative by the time that
        storing took.
    """

    split: AttackedImages
    saved_seconds: float


def attack_split(
    runner: ModelRunner[AttackedModel], attack: Attack, split: Split, runs_dir: str | Path | None
) -> AttackedSplit:
    """Attack a model with the images of a split; reuse adversarial images from an earlier call.

    Args:
      runner: runs the attacked model.
      attack: the attack.
      split: clean images.
      runs_dir: directory whose `attacks/` stores the images; None stores nothing. Nothing is stored
        either if the classifier is not a Keras model, because its weights cannot be compared.
    """
    model = runner.model
    storage = _storage(runner, attack, split, runs_dir)
    if storage is None:
        return AttackedSplit(runner.attack(attack, split), 0.0)
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            # The attack warns of images without a gradient, which a check of the report covers.
            warnings.simplefilter("ignore")
            stored = make_adversarial_dataset(model, split, attack, storage)
        # Another evaluation can use the images before this process ends.
        release_directory(stored.directory.path)
    except DirectoryLockedError:
        found = _load_locked(model, attack, split, storage)
        if found is None:  # Another evaluation is making the same images.
            return AttackedSplit(runner.attack(attack, split), 0.0)
        stored = found
    saved = stored.seconds - (time.monotonic() - start)
    costs = {name: getattr(stored, name) for name in COST_NAMES}
    names = surrogate_names(attack, model, split.image_shape)
    return AttackedSplit(attacked_images(split, stored.adversarial, costs, names), saved)


def _load_locked(
    model: AttackedModel, attack: Attack, split: Split, storage: AdversarialStorage
) -> AdversarialDataset | None:
    """Return the images in a directory that another process has locked.

    None if images are missing or damaged, on any worker.
    """
    found = None
    if not count_missing_images(model, split, attack, storage):
        with contextlib.suppress(UserError):
            directory = adversarial_directory(model, split, attack, storage)
            loaded = load_adversarial_dataset(directory)
            loaded.verify(split)
            found = loaded
    return None if multi_worker.any_worker(found is None) else found


def count_missing(
    runner: ModelRunner[AttackedModel], attack: Attack, split: Split, runs_dir: str | Path | None
) -> int:
    """Return how many images `attack_split` would attack; arguments as there."""
    storage = _storage(runner, attack, split, runs_dir)
    if storage is None:
        return len(split)
    return count_missing_images(runner.model, split, attack, storage)


def _storage(
    runner: ModelRunner[AttackedModel], attack: Attack, split: Split, runs_dir: str | Path | None
) -> AdversarialStorage | None:
    """Return where the images are stored; None if they are not."""
    _, networks = runner.model.identity()
    if runs_dir is None or not isinstance(networks["classifier"], keras.Model):
        return None
    size = min(runner.fitting_batch_size(split), _fitting_shard_size(runner.model, attack, split))
    return AdversarialStorage(batch_size=size, runs_dir=runs_dir)


def _fitting_shard_size(model: AttackedModel, attack: Attack, split: Split) -> int:
    """Return the number of images whose attack takes `_PASSES_PER_SHARD` forward passes at most.

    The cost of attacks of other libraries is not known: it counts as nothing.
    """
    cost = PlannedAttack(attack, model, split.take(1)).cost
    passes = num_draws(model) * (3 * cost.gradients + cost.predictions)
    return max(_FEWEST_IMAGES, _PASSES_PER_SHARD // max(1, passes))
