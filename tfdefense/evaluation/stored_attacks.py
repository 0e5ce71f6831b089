"""Attacks on a split, with adversarial images that are stored and reused."""

import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import keras

from tfdefense.attacks import Attack
from tfdefense.attacks.core.adversarial_dataset import AdversarialStorage, make_adversarial_dataset
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import DefendedClassifier
from tfdefense.errors import DirectoryLockedError
from tfdefense.evaluation.runner import ModelRunner

AttackedModel = FrozenClassifier | DefendedClassifier


class AttackedSplit(NamedTuple):
    """Result of an attack on a split.

    Attributes:
      split: adversarial images with the true classes.
      saved_seconds: time that was saved because images were stored. It is negative by the time that
        storing took.
    """

    split: Split
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
    classifier = model.classifier if isinstance(model, DefendedClassifier) else model
    if runs_dir is None or not isinstance(classifier.model, keras.Model):
        return AttackedSplit(runner.attack(attack, split), 0.0)
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            # The attack warns of images without a gradient, which a check of the report covers.
            warnings.simplefilter("ignore")
            storage = AdversarialStorage(batch_size=runner.batch_size, runs_dir=runs_dir)
            stored = make_adversarial_dataset(model, split, attack, storage)
    except DirectoryLockedError:  # Another evaluation is making the same images.
        return AttackedSplit(runner.attack(attack, split), 0.0)
    saved = stored.seconds - (time.monotonic() - start)
    return AttackedSplit(replace(split, images=stored.adversarial), saved)
