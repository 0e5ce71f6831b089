"""Base class of the defences that learn: `fit` trains them with the one Trainer."""

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

import keras
import tensorflow as tf

from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.classifiers.core.fingerprint import hash_weights
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.fingerprint import sampled_fingerprint
from tfdefense.defenses.core.augmenting_defense import Arrays, AugmentingDefense
from tfdefense.defenses.core.training_inputs import LoopOptions, TrainingData
from tfdefense.errors import require
from tfdefense.training import LoopConfig, Replica, Trainer, epochs_to_show, usual_batch_size
from tfdefense.training.frozen_networks import infer_fast
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.run_files import has_file_hashes, require_original_files, save_file_hashes
from tfdefense.training.stored_config import StoredConfig
from tfdefense.training.task import Validate


class LearnedDefense(AugmentingDefense):
    """Defence with trained networks.

    A subclass creates its networks in `__init__` and its optimizers in `prepare`, and defines
    `train_step`. `training_arrays` returns the data that batches are drawn from.

    Attributes:
      should_stop: whether training ends before its last step (see `Task`); always False here.
      needs_validation: whether `fit` needs validation images, such as to calibrate a detector.
    """

    should_stop: bool = False
    needs_validation = False

    @property
    def frozen_networks(self) -> Sequence[keras.Layer]:
        """The classifier, if it is a Keras model: see `Task`."""
        return [self.classifier.model] if isinstance(self.classifier.model, keras.Layer) else []

    @abc.abstractmethod
    def prepare(self, steps: int) -> None:
        """Create the optimizers for a training of `steps` steps."""

    @abc.abstractmethod
    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        """Update the networks once; see `tfdefense.training.Task`.

        Args:
          batch: this replica's part of a batch of `training_arrays`.
          replica: averages over the global batch and draws random numbers.

        Returns:
          Scalars to log; they add up over replicas.
        """

    def finish(self) -> None:
        """Change the networks after the last step, before the last checkpoint."""

    def checkpoint_items(self) -> dict[str, Any]:
        """Return networks and optimizers by name: all attributes that are one of these.

        The networks have the same names as in `networks`.
        """
        kinds = (keras.layers.Layer, keras.optimizers.Optimizer)
        return {name: value for name, value in vars(self).items() if isinstance(value, kinds)}

    def training_arrays(self, train: Split, pairs: Sequence[AdversarialDataset]) -> Arrays:
        """Return the arrays [N, ...] that batches are drawn from, by name.

        By default these are the `clean` images and their `labels`. `infer_fast` holds without `pairs`.

        Args:
          train: clean images.
          pairs: stored adversarial examples of these images; empty for none.

        Raises:
          UserError: the defence does not learn from stored examples, or they are of other images.
        """
        require(
            not pairs,
            f"--pairs: --defense={self.name} learns from clean images only. Leave --pairs out.",
        )
        return {"clean": train.images, "labels": train.labels}

    def use_pair_weights(self, weights: Sequence[float] | None) -> None:
        """Draw from stored adversarial examples with these weights, if the defence learns from them.

        Args:
          weights: weight of each dataset of `pairs`; None means equal weights.
        """

    def make_validator(self, validation: Split) -> Validate | None:
        """Return a function that computes scalars and image grids for TensorBoard, or None.

        Args:
          validation: held-out clean images.
        """
        del validation
        return None

    def watch_validation(self, validate: Validate, images: int, prefix: str = "") -> Validate:
        """Return `validate` with what the training does before and after it; here nothing.

        Args:
          validate: the function that `make_validator` returned, or that of a composition.
          images: number of validation images.
          prefix: prefix of the names of this defence's scalars in it.
        """
        del images, prefix
        return validate

    @classmethod
    def check_new_training(cls, config: Any, image_shape: tuple[int, int, int]) -> None:
        """Raise `UserError` for hyperparameters that only existing runs may have.

        A rule that is newer than some stored runs belongs here and not in the configuration, so
        that these runs still open and resume.

        Args:
          config, image_shape: hyperparameters, and (H, W, C) of the training images.
        """

    @classmethod
    def loop_config(
        cls, train: Split, epochs: int | None = None, **options: Unpack[LoopOptions]
    ) -> LoopConfig:
        """Return the training loop for these arguments; `fit` adds the seed of the defence."""
        epochs = cls.default_epochs(train) if epochs is None else epochs
        if "batch_size" not in options:
            options["batch_size"] = cls.default_batch_size(train)
        return LoopConfig(epochs, **options)

    @classmethod
    def default_batch_size(cls, train: Split) -> int:
        """Return the examples in a step: see `usual_batch_size`."""
        return usual_batch_size(train.image_shape)

    @classmethod
    def default_epochs(cls, train: Split) -> int:
        """Return the number of epochs that show about 450,000 images: minutes on two CPU cores.

        Of large images fewer are shown: see `epochs_to_show`.
        """
        return epochs_to_show(450_000, len(train), 8, 64, train.image_shape)

    def fit(
        self,
        train: Split,
        epochs: int | None = None,
        validation: Split | None = None,
        *,
        run: str | Path | RunDirectory | None = None,
        pairs: Sequence[AdversarialDataset] = (),
        **options: Unpack[LoopOptions],
    ) -> Self:
        """Train the defence, or resume if `run` has a checkpoint.

        Args:
          train: clean images.
          epochs: passes over `train`; None for `default_epochs`.
          validation, pairs: see `TrainingData`.
          run: run directory for checkpoints, event files and the classifier, if that is a Keras
            model; None stores nothing.
          **options: see `LoopOptions`; `seed` is by default that of the defence.

        Raises:
          UserError: `run` is given and `seed` is not that of the defence; see also `run_training`.
          WorkFailedError: see `run_training`.
        """
        options.setdefault("seed", self.seed)
        loop = self.loop_config(train, epochs, **options)
        require(
            run is None or loop.seed == self.seed,
            f"seed={loop.seed}: the defence was made with seed={self.seed}, and a run directory stores"
            f" one seed. Leave seed out of fit, or make the defence with seed={loop.seed}.",
        )
        source_settings = {"dataset": train.dataset, "classifier": self.classifier.name}
        settings = self.settings(source_settings, self.config, loop.seed, loop, pairs)
        if run is not None and not isinstance(run, RunDirectory):
            run = RunDirectory(run)
        return self.run_training(TrainingData(train, validation, pairs), loop, settings, run)

    def run_training(
        self,
        data: TrainingData,
        loop: LoopConfig,
        settings: Mapping[str, Any],
        run: RunDirectory | None = None,
    ) -> Self:
        """Train the defence with a given loop and given settings, or resume.

        Args:
          data: images to learn from.
          loop: training loop.
          settings: all settings that determine the defence, for `config.json` and TensorBoard; see
            `Defense.settings`.
          run: run directory; None stores nothing.

        Raises:
          UserError: images of another shape, examples of other images, a run with other settings or
            exchanged files, no validation images where they are needed, or hyperparameters that
            `check_new_training` refuses.
          WorkFailedError: a loss is not finite.
        """
        self._check_splits(data)
        self.require_augmentable(data.train)
        train, pairs, steps = data.train, data.pairs, loop.total_steps(len(data.train))
        self.use_pair_weights(data.pair_weights)
        if run is None or not run.exists():
            self.check_new_training(self.config, train.image_shape)
        # Stored examples are checked before the run directory is created.
        arrays = self.training_arrays(train, pairs) if pairs else None
        if run is not None:
            metadata = {
                "steps": steps,
                "image_shape": list(train.image_shape),
                "images": sampled_fingerprint(train),
                "classifier_weights": hash_weights(self.classifier.model),
            }
            self._create_run(run, StoredConfig("defense", settings, metadata))
        self.prepare(steps)
        trainer = Trainer(self, loop, run.path if run is not None else None, settings=settings)
        if not trainer.is_finished(len(train)):
            validate = None
            if data.validation and (validate := self.make_validator(data.validation)):
                validate = self.watch_validation(validate, len(data.validation))
            with infer_fast(self.frozen_networks, loop.mixed_precision):  # As in the steps.
                arrays = arrays or self.training_arrays(train, pairs)
            trainer.fit(arrays | self.begin_augmentation(len(train), loop.seed), validate)
        if run is not None and not has_file_hashes(run):  # Missing too if a call was killed here.
            save_file_hashes(run, trainer.checkpoints.step)
        return self

    def _check_splits(self, data: TrainingData) -> None:
        given, needed = data.train.image_shape, self.classifier.image_shape
        require(given == needed, f"train: images of {given} given, {needed} is needed.")
        require(
            data.validation is not None or not self.needs_validation,
            f"validation: none given; {self.name} needs held-out clean images.",
        )

    def _create_run(self, run: RunDirectory, config: StoredConfig) -> None:
        """Create or reuse the run directory, with the guarded classifier in it.

        The weights of a finished run must be those that its training wrote.
        """
        run.create_or_reuse(config)
        if isinstance(self.classifier.model, keras.Model) and not run.has_classifier():
            run.save_classifier(self.classifier.model)
        require_original_files(run)
