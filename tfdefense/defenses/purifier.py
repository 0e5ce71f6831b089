"""What every trained purifier shares: a generator, a `fit`, and how its health is watched."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.crafting import Examples
from tfdefense.data.dataset import Split
from tfdefense.data.pairs import crafted_pairs, fgsm_pairs, perturbed
from tfdefense.defenses.base import Defense
from tfdefense.errors import require
from tfdefense.runs import Run, RunConfig
from tfdefense.training import LoopConfig, Replica, Trainer, epochs_for
from tfdefense.training.summaries import image_grid

_GRID_IMAGES = 8


class TrainedPurifier(Defense):
    """A defence that trains a network `generator` on adversarial pairs.

    A subclass makes its networks in `__init__`, its optimizers in `prepare`, and owns `train_step`.
    """

    generator: keras.Model
    stopped = False  # It is trained for as long as was asked.

    @abc.abstractmethod
    def prepare(self, steps: int) -> None:
        """Makes the optimizers for a training of `steps` steps."""

    @abc.abstractmethod
    def checkpoint_items(self) -> dict[str, Any]:
        """Networks and optimizers by name; the generator is called "generator"."""

    @abc.abstractmethod
    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        """One update from a batch of pairs (`data.pairs.drawn`); see `tfdefense.training.Task`."""

    @property
    def strengths(self) -> tuple[float, ...]:
        """Epsilons of the adversarial examples that it trains on."""
        return self.config.strengths or default_strengths(self.classifier.image_shape)

    @staticmethod
    def loop_config(
        train: Split,
        epochs: int | None = None,
        batch_size: int = 128,
        seed: int = 0,
        steps_per_loop: int = 20,
    ) -> LoopConfig:
        """How `fit` trains with these arguments."""
        epochs = default_epochs(train) if epochs is None else epochs
        return LoopConfig(epochs, batch_size, seed, steps_per_loop)

    @classmethod
    def settings(
        cls,
        about: Mapping[str, Any],
        config: Any,
        loop: LoopConfig,
        pairs: Sequence[Examples] = (),
    ) -> dict[str, Any]:
        """All that the trained weights depend on, by flag name; what `config.json` keeps.

        Args:
          about: what tells data and classifier from others.
          config, loop, pairs: how it is trained.
        """
        return {
            **({"pairs": [each.name for each in pairs]} if pairs else {}),
            "defense": cls.name,
            **about,
            "epochs": loop.epochs,
            "batch_size": loop.batch_size,
            "seed": loop.seed,
            **dataclasses.asdict(config),
        }

    def networks(self) -> dict[str, keras.Model]:
        return {"generator": self.generator}

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return self.generator(images, training=False)

    def fit(
        self,
        train: Split,
        epochs: int | None = None,
        validation: Split | None = None,
        batch_size: int = 128,
        seed: int = 0,
        run: str | Run | None = None,
        steps_per_loop: int = 20,
        pairs: Sequence[Examples] = (),
        about: Mapping[str, Any] | None = None,
    ) -> "TrainedPurifier":
        """Trains the purifier; goes on where it stopped if `run` has a checkpoint.

        Args:
          train: clean images.
          epochs: passes over `train`; None means as many as show about 450,000 images, 8 to 64.
          validation: held-out clean images whose accuracies and pictures TensorBoard shows.
          batch_size: examples in a step, over all replicas.
          seed: order of data and random draws. Initial weights follow from the constructor's seed.
          run: a run directory for checkpoints, event files and the classifier, if that is a Keras
            model; None keeps nothing.
          steps_per_loop: steps in one call of the compiled loop.
          pairs: adversarial examples of all of `train`, one set for each attack, from
            `crafting.load`; none means FGSM's at the strengths of the configuration, made here.
          about: what `config.json` is to say of data and classifier; None means their names.

        Raises:
          UserError: a number out of range, images of another shape, examples of other images, or a
            run of other settings.
          WorkFailed: a loss is no longer finite.
        """
        require(
            train.image_shape == self.classifier.image_shape,
            f"train: images of {train.image_shape} given, {self.classifier.image_shape} needed.",
        )
        loop = self.loop_config(train, epochs, batch_size, seed, steps_per_loop)
        about = about or {"dataset": train.dataset, "classifier": self.classifier.name}
        settings = self.settings(about, self.config, loop, pairs)
        arrays = crafted_pairs(pairs, train) if pairs else None
        if run is not None:
            run = run if isinstance(run, Run) else Run(run)
            run.start(RunConfig("defense", settings, {"steps": loop.steps(len(train))}))
            if isinstance(self.classifier.model, keras.Model) and not run.classifier_path.is_file():
                run.save_classifier(self.classifier.model)
        self.prepare(loop.steps(len(train)))
        trainer = Trainer(self, loop, run and run.path, describe=settings)
        if not trainer.finished(len(train)):
            watch = validation and Watch(self, validation)
            trainer.fit(arrays or fgsm_pairs(self.classifier, train), watch)
        return self


class Watch:
    """Validation of a purifier: its accuracies and a picture, for TensorBoard."""

    def __init__(self, defense: TrainedPurifier, split: Split) -> None:
        self.defense = defense
        self.pairs = fgsm_pairs(defense.classifier, split)
        self.model = defense.defend()
        self.correct = tf.function(self._correct, reduce_retracing=True)

    def __call__(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        scalars = {"accuracy_clean": self._accuracy(0.0)}
        for strength in self.defense.strengths:
            scalars[f"accuracy_fgsm_{strength:g}"] = self._accuracy(strength)
        few = {name: array[:_GRID_IMAGES] for name, array in self.pairs.items()}
        rows = [few["clean"], self.defense.purify(few["clean"])]
        for strength in self.defense.strengths:
            adversarial = perturbed(few, strength)
            rows += [adversarial, self.defense.purify(adversarial)]
        return scalars, {"clean_then_adversarial_and_purified": image_grid(rows)}

    def _accuracy(self, strength: float) -> float:
        count = len(self.pairs["labels"])
        correct = 0
        for start in range(0, count, 500):
            part = {name: array[start : start + 500] for name, array in self.pairs.items()}
            correct += int(self.correct(part, tf.constant(strength)))
        return correct / count

    def _correct(self, batch: Mapping[str, tf.Tensor], strength: tf.Tensor) -> tf.Tensor:
        logits = self.model(perturbed(batch, strength))
        hits = tf.argmax(logits, -1, output_type=tf.int32) == batch["labels"]
        return tf.reduce_sum(tf.cast(hits, tf.int32))


def default_strengths(image_shape: tuple[int, int, int]) -> tuple[float, ...]:
    """The paper's training strengths (section IV.A): MNIST's for grey images, CIFAR-10's for colour."""
    return (0.1, 0.3, 0.5, 0.7) if image_shape[-1] == 1 else (0.01, 0.03, 0.05, 0.07)


def default_epochs(train: Split) -> int:
    """Passes that show a purifier about 450,000 images: minutes on two cores, not the paper's 200 epochs."""
    return epochs_for(450_000, len(train), least=8, most=64)
