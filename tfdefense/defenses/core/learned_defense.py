"""What every defence that learns shares: a `fit`, through the one Trainer, into a run directory."""

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.training import BATCH_SIZE, LoopConfig, Replica, Trainer, epochs_to_show
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig


class LearnedDefense(Defense):
    """A defence with networks of its own.

    A subclass makes its networks in `__init__`, its optimizers in `prepare`, and owns `train_step`; `arrays` says what it
    learns from.
    """

    should_stop = False  # It is trained for as long as was asked.
    needs_validation = False  # Whether `watch` sets what `purify` or `excess` go by.

    @abc.abstractmethod
    def prepare(self, steps: int) -> None:
        """Makes the optimizers for a training of `steps` steps."""

    def finish(self) -> None:
        """Called after the last step, before the networks are kept; does nothing by default."""

    def checkpoint_items(self) -> dict[str, Any]:
        """Networks and optimizers by name; those of `networks` under the same names.

        By default what the defence holds as attributes of its own, by their names.
        """
        kept = (keras.layers.Layer, keras.optimizers.Optimizer)
        return {name: value for name, value in vars(self).items() if isinstance(value, kept)}

    def arrays(self, train: Split, pairs: Sequence[AdversarialDataset]) -> dict[str, np.ndarray | DiskArray]:
        """Name -> [N, ...]: what batches are drawn from; by default `clean` images and `labels`.

        Raises:
          UserError: examples in `pairs` of other images, or of a defence that does not learn from them.
        """
        require(
            not pairs,
            f"--pairs: --defense={self.name} learns from clean images, and what it makes of them itself.",
        )
        return {"clean": train.images, "labels": train.labels}

    @abc.abstractmethod
    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        """One update from a batch of `arrays`; see `tfdefense.training.Task`."""

    def watch(self, validation: Split) -> Callable[[], tuple[dict, dict]] | None:
        """A function that gives scalars and image grids for TensorBoard; None for nothing to see."""
        del validation
        return None

    def begin_from(self, other: Defense) -> None:
        """Takes the weights of another defence's networks of the same names.

        Raises:
          UserError: it has no such networks, or they are of other shapes.
        """
        theirs = other.networks()
        for name, network in self.networks().items():
            values = theirs[name].get_weights() if name in theirs else []
            require(
                [value.shape for value in values]
                == [tuple(each.shape) for each in network.weights],
                f"--init_run: the {name} of that {other.name} is not like the one of this {self.name}"
                " (see --generator, --levels, --widths, --thresholds).",
            )
            network.set_weights(values)

    @classmethod
    def loop_config(
        cls,
        train: Split,
        epochs: int | None = None,
        batch_size: int = BATCH_SIZE,
        seed: int = 0,
        mixed_precision: str = "float32",
        steps_per_loop: int = 20,
    ) -> LoopConfig:
        """How `fit` trains with these arguments."""
        epochs = cls.default_epochs(train) if epochs is None else epochs
        return LoopConfig(epochs, batch_size, seed, mixed_precision, steps_per_loop)

    @classmethod
    def default_epochs(cls, train: Split) -> int:
        """Passes that show about 450,000 images: minutes on two cores, not a paper's 200 epochs."""
        return epochs_to_show(450_000, len(train), minimum=8, maximum=64)

    def fit(
        self,
        train: Split,
        epochs: int | None = None,
        validation: Split | None = None,
        batch_size: int = BATCH_SIZE,
        seed: int = 0,
        run: str | RunDirectory | None = None,
        steps_per_loop: int = 20,
        pairs: Sequence[AdversarialDataset] = (),
        about: Mapping[str, Any] | None = None,
        mixed_precision: str = "float32",
    ) -> "LearnedDefense":
        """Trains; goes on where it stopped if `run` has a checkpoint.

        Args:
          train: clean images.
          epochs: passes over `train`; None means as many as show about 450,000 images, 8 to 64.
          validation: held-out clean images whose accuracies and pictures TensorBoard shows, and which set
            the thresholds of a detector.
          batch_size: examples in a step, over all replicas.
          seed: order of data and random draws. Initial weights follow from the constructor's seed.
          run: a run directory for checkpoints, event files and the classifier, if that is a Keras
            model; None keeps nothing.
          steps_per_loop: steps in one call of the compiled loop.
          pairs: adversarial examples of all of `train`, one set for each attack, from
            `crafting.load`; none means what the defence makes for itself.
          about: what `config.json` is to say of data and classifier; None means their names.
          mixed_precision: what networks compute in while they learn, "float32" or "bfloat16"; weights and
            losses, and all that is judged or exported, are float32 in either case.

        Raises:
          UserError: a number out of range, images of another shape, examples of other images, a run of
            other settings, or no validation images where they are needed.
          WorkFailedError: a loss is no longer finite.
        """
        require(
            train.image_shape == self.classifier.image_shape,
            f"train: images of {train.image_shape} given, {self.classifier.image_shape} needed.",
        )
        require(
            validation is not None or not self.needs_validation,
            f"validation: none given; {self.name} sets its thresholds by held-out clean images.",
        )
        loop = self.loop_config(train, epochs, batch_size, seed, mixed_precision, steps_per_loop)
        about = about or {"dataset": train.dataset, "classifier": self.classifier.name}
        settings = self.settings(about, self.config, loop.seed, loop, pairs)
        arrays = self.arrays(train, pairs) if pairs else None
        if run is not None:
            run = run if isinstance(run, RunDirectory) else RunDirectory(run)
            run.create_or_reuse(StoredConfig("defense", settings, {"steps": loop.total_steps(len(train))}))
            if isinstance(self.classifier.model, keras.Model) and not run.classifier_path.is_file():
                run.save_classifier(self.classifier.model)
        self.prepare(loop.total_steps(len(train)))
        trainer = Trainer(self, loop, run and run.path, settings=settings)
        if not trainer.is_finished(len(train)):
            watch = validation and self.watch(validation)
            trainer.fit(arrays or self.arrays(train, pairs), watch)
        return self
