"""Base class of the purifiers that learn from adversarial pairs: APE-GAN, APE-GAN++, conditional GAN."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.adversarial_pairs import (
    draw_adversarial,
    make_fgsm_pairs,
    make_stored_pairs,
)
from tfdefense.defenses.core.augmenting_defense import Arrays
from tfdefense.defenses.core.generator_defense import GeneratorDefense
from tfdefense.defenses.core.purifier_validator import PurifierValidator
from tfdefense.training.replica import Replica


class PairTrainedPurifier(GeneratorDefense):
    """Purifier whose generator learns to turn adversarial images into clean ones.

    Its configuration has `strengths`, the epsilons of the FGSM examples that it learns from if no
    stored examples are given.
    """

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        # An attribute that appears with training would give another pipeline.
        self._pair_weights: Sequence[float] | None = None

    @property
    def strengths(self) -> tuple[float, ...]:
        """Epsilons of the FGSM examples that the generator learns from."""
        return self.config.strengths or default_strengths(self.classifier.image_shape)

    def training_arrays(self, train: Split, pairs: Sequence[AdversarialDataset]) -> Arrays:
        """Return adversarial pairs: stored ones if given, else FGSM examples."""
        return make_stored_pairs(pairs, train) if pairs else make_fgsm_pairs(self.classifier, train)

    def use_pair_weights(self, weights: Sequence[float] | None) -> None:
        self._pair_weights = weights

    def draw_pairs(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        """Return `clean` images, their `labels`, and `adversarial` images as the generator gets them.

        Args:
          batch: batch of `training_arrays`.
          replica: draws one adversarial image per clean image, and the augmentation of both.
        """
        adversarial = draw_adversarial(batch, self.strengths, replica, self._pair_weights)
        pairs = self.augment({**batch, "adversarial": adversarial}, replica)
        return {
            "clean": pairs["clean"],
            "labels": pairs["labels"],
            "adversarial": self.preprocess(pairs["adversarial"]),
        }

    def make_validator(self, validation: Split) -> PurifierValidator:
        return PurifierValidator(self, validation, self.strengths)


def default_strengths(image_shape: tuple[int, int, int]) -> tuple[float, ...]:
    """Return the training strengths of the APE-GAN++ paper, section IV.A.

    They are those of MNIST for grey images and those of CIFAR-10 for colour images.
    """
    return (0.1, 0.3, 0.5, 0.7) if image_shape[-1] == 1 else (0.01, 0.03, 0.05, 0.07)
