"""What every trained purifier shares: a generator, adversarial pairs, and how its health is watched."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfdefense.attacks import BIM, default_epsilon
from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.defenses.core.adversarial_pairs import make_stored_pairs, draw_adversarial, make_fgsm_pairs, apply_fgsm
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.training.distribute.batching import map_batches
from tfdefense.training.replica import Replica
from tfdefense.training.summaries import image_grid

_GRID_IMAGES = 8
_ATTACKED_IMAGES = 500
_BATCH = 500


class GeneratorDefense(LearnedDefense):
    """A defence that is one trained network `generator`.

    Its `Config` has `average`, which its `generator_optimizer` keeps of the generator's weights.

    Attributes:
      generator: the network.
      generator_optimizer: made by `prepare`.
      before: what other defences do to images before they come to it.
    """

    generator: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    before: Callable[[tf.Tensor], tf.Tensor] = staticmethod(tf.identity)

    def finish(self) -> None:
        if self.config.average:
            self.generator_optimizer.finalize_variable_values(self.generator.trainable_variables)

    def networks(self) -> dict[str, keras.Model]:
        return {"generator": self.generator}

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return self.generator(images, training=False)


class PairTrainedPurifier(GeneratorDefense):
    """One whose generator learns from adversarial pairs (`data.pairs.drawn`).

    Its `Config` has `strengths`, the epsilons of the FGSM examples that it learns from where it is given no others.
    """

    def adversarial(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> tf.Tensor:
        """An adversarial image for each of a batch of `arrays`, as the generator will meet it."""
        return self.before(draw_adversarial(batch, self.strengths, replica))

    @property
    def strengths(self) -> tuple[float, ...]:
        """Epsilons of the adversarial examples that it trains on."""
        return self.config.strengths or default_strengths(self.classifier.image_shape)

    def arrays(self, train: Split, pairs: Sequence[AdversarialDataset]) -> dict[str, np.ndarray | DiskArray]:
        return make_stored_pairs(pairs, train) if pairs else make_fgsm_pairs(self.classifier, train)

    def watch(self, validation: Split) -> "PurifierValidator":
        return PurifierValidator(self, validation, self.strengths)


class PurifierValidator:
    """Validation of a purifier, grey box: its accuracies and a picture, for TensorBoard.

    Args:
      defense: whose `purify` is looked at.
      split: clean images.
      strengths: epsilons of the FGSM examples of them; BIM's have the radius usual in reports.
    """

    def __init__(self, defense: Defense, split: Split, strengths: tuple[float, ...]) -> None:
        self.defense = defense
        self.strengths = strengths
        self.pairs = make_fgsm_pairs(defense.classifier, split)
        self.model = defense.defend()
        # Grey box: the classifier does not change, so neither do the images that an attack on it makes.
        few = split.take(_ATTACKED_IMAGES)
        attack = BIM(epsilon=default_epsilon(split.image_shape))
        images = attack(defense.classifier, few.images, few.labels)
        still = tf.zeros(few.images.shape, tf.int8)
        self.attacked = {"clean": images, "labels": few.labels, "direction": still}
        self.attack_name = f"accuracy_bim_{attack.epsilon:.3g}"
        self.correct = tf.function(self._correct, reduce_retracing=True)

    def __call__(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        scalars = {"accuracy_clean": self._accuracy(self.pairs, 0.0)}
        for strength in self.strengths:
            scalars[f"accuracy_fgsm_{strength:g}"] = self._accuracy(self.pairs, strength)
        scalars[self.attack_name] = self._accuracy(self.attacked, 0.0)
        few = {name: array[:_GRID_IMAGES] for name, array in self.pairs.items()}
        rows = [few["clean"], self.defense.purify(few["clean"])]
        for strength in self.strengths:
            adversarial = apply_fgsm(few, strength)
            rows += [adversarial, self.defense.purify(adversarial)]
        return scalars, {"clean_then_adversarial_and_purified": image_grid(rows)}

    def _accuracy(self, pairs: Mapping[str, np.ndarray], strength: float) -> float:
        def hits(part: slice) -> tf.Tensor:
            batch = {name: array[part] for name, array in pairs.items()}
            return self.correct(batch, tf.constant(strength))

        return float(np.mean(map_batches(hits, len(pairs["labels"]), _BATCH)))

    def _correct(self, batch: Mapping[str, tf.Tensor], strength: tf.Tensor) -> tf.Tensor:
        logits = self.model(apply_fgsm(batch, strength))
        return tf.argmax(logits, -1, output_type=tf.int32) == batch["labels"]


def default_strengths(image_shape: tuple[int, int, int]) -> tuple[float, ...]:
    """The paper's training strengths (section IV.A): MNIST's for grey images, CIFAR-10's for colour."""
    return (0.1, 0.3, 0.5, 0.7) if image_shape[-1] == 1 else (0.01, 0.03, 0.05, 0.07)
