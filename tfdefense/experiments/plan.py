"""A plan: one training, checked and described before anything is written."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras

from tfdefense.attacks.core.adversarial_dataset import (
    AdversarialDataset,
    load_adversarial_dataset,
)
from tfdefense.classifiers.resolve import ClassifierReference
from tfdefense.data import Dataset, Split
from tfdefense.data.core.fingerprint import sampled_fingerprint
from tfdefense.defenses.core.augmenting_defense import require_augmentable
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.training_inputs import LoopOptions
from tfdefense.errors import UserError
from tfdefense.experiments.config import ExperimentConfig, TrainingConfig
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.inputs import ClassifierSelection, DataConfig, InputDirectory
from tfdefense.experiments.load import load_experiment, require_images_in_place
from tfdefense.experiments.training_images import first_training_images, require_fitting_batch
from tfdefense.training import LoopConfig
from tfdefense.training.mixed_precision import AUTO
from tfdefense.training.precision_trial import choose_precision
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.seeding import seed_layers
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils.hashing import hash_settings
from tfdefense.utils.real_path import real_path


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """One training, with its inputs loaded and checked.

    Attributes:
      run: the run directory, which need not exist yet.
      config: the experiment, with paths made absolute, and names and fingerprints of its inputs.
      dataset: the images.
      train: the training images that the defence learns from.
      pairs: the adversarial examples that it learns from.
      loop: length and batches of the training; None for a defence that does not learn.
      classifier: the classifier, found but not opened; None if the run directory holds it already.
    """

    run: RunDirectory
    config: ExperimentConfig
    dataset: Dataset
    train: Split
    pairs: tuple[AdversarialDataset, ...]
    loop: LoopConfig | None
    classifier: ClassifierReference | None

    @property
    def pair_weights(self) -> tuple[float, ...] | None:
        """Weight of each of `pairs`; None means equal weights."""
        return self.config.training.pair_weights if self.config.training else None

    @property
    def init_run(self) -> RunDirectory | None:
        """Run of the defence whose weights training begins with."""
        training = self.config.training
        directory = training.init_run if training else None
        return RunDirectory(directory.path, "init_run") if directory else None

    def to_stored(self) -> StoredConfig:
        """Return the content of the run's `config.json`."""
        training = self.config.training
        metadata = {
            "pairs": [each.path for each in training.pairs] if training else [],
            "data_dir": self.dataset.data_dir,
            "class_names": list(self.dataset.class_names),
            "image_shape": list(self.dataset.image_shape),
            "steps": self.loop.total_steps(len(self.train)) if self.loop else 0,
            "images": sampled_fingerprint(self.train),
            "init_run": training.init_run.path if training and training.init_run else None,
            "classifier_path": self.config.classifier.path,
        }
        return StoredConfig("defense", self.config.to_settings(), metadata)


def plan_training(
    config: ExperimentConfig,
    context: ExperimentContext | None = None,
    run: RunDirectory | None = None,
) -> TrainingPlan:
    """Check an experiment and load its inputs; write nothing.

    Args:
      config: what to train.
      context: directories and permissions.
      run: the run directory; None means `<runs_dir>/<dataset>-<classifier>-<defense>`.

    Raises:
      UserError: an input is missing, damaged or unsuitable, or a number is out of range.
    """
    context = context or ExperimentContext()
    selection, resumed = config.classifier, None
    data_dir, classifier = context.data_dir, None
    if run is not None and run.exists() and not context.overwrite:
        stored = load_experiment(run)
        data_dir = data_dir or stored.data_dir
        if config.data.dataset == stored.config.data.dataset:
            require_images_in_place(run, config.data)
        resumed = stored.config.classifier if run.classifier_path.is_file() else None
    with context.trust():
        if selection.classifier is not None and selection != resumed:
            classifier = selection.find()
        dataset = config.data.load_dataset(data_dir)
        require_augmentable(
            config.defense.hyperparameters, dataset.image_shape, dataset.source, dataset.name
        )
        if selection.classifier is None:
            classifier = selection.find(dataset)
    if config.evaluation is not None:
        config.evaluation.require_usable_with(dataset.test)
        if config.evaluation.chosen_surrogates and classifier is not None and not classifier.path:
            config.evaluation.require_usable_on(_untrained_defense(config, dataset))
    if run is None:
        assert classifier is not None
        name = f"{dataset.name}-{classifier.name}-{config.defense.defense}"
        run = RunDirectory(Path(context.runs_dir) / name)
    if not context.overwrite:
        config = _with_stored_loop(config, run)
    train, loop, training = dataset.train, None, None
    pairs: tuple[AdversarialDataset, ...] = ()
    if config.training is not None:
        train = first_training_images(dataset, config.training.train_images)
        if context.overwrite or not run.exists():
            learned_class = config.defense.learned_class
            assert learned_class is not None
            learned_class.check_new_training(config.defense.hyperparameters, dataset.image_shape)
            if config.training.batch_size != learned_class.default_batch_size(train):
                require_fitting_batch(config.training.batch_size, train)
        loop = _loop_config(config, train)
        pairs = tuple(load_adversarial_dataset(each.path) for each in config.training.pairs)
        training = _identified_training(config.training, loop, train, dataset, pairs)
    identified = dataclasses.replace(
        config,
        data=DataConfig.of_dataset(dataset),
        classifier=ClassifierSelection.of_found(classifier) if classifier else selection,
        training=training,
    )
    return TrainingPlan(run, identified, dataset, train, pairs, loop, classifier)


def _untrained_defense(config: ExperimentConfig, dataset: Dataset) -> Defense:
    """Return the defence in front of a small classifier in place of one that is not trained yet."""
    with seed_layers(config.defense.seed):
        layers = [keras.layers.Flatten(), keras.layers.Dense(dataset.num_classes)]
        classifier = keras.Sequential([keras.Input(dataset.image_shape), *layers])
        return config.defense.build(classifier)


def _with_stored_loop(config: ExperimentConfig, run: RunDirectory) -> ExperimentConfig:
    """Return `config` with epochs, batch size and precision of an existing run where it gives none.

    Their defaults depend on the version, and the precision on the computer, so that an older run
    could not be resumed otherwise.
    """
    if config.training is None or not run.exists():
        return config
    try:
        stored = load_experiment(run).config.training
    except UserError:  # `create_run` names the fault.
        return config
    taken = {
        name: getattr(stored, name)
        for name in ("epochs", "batch_size", "mixed_precision")
        if stored is not None and getattr(config.training, name) in (None, AUTO)
    }
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **taken))


def _loop_config(config: ExperimentConfig, train: Split) -> LoopConfig:
    learned_class, training = config.defense.learned_class, config.training
    assert learned_class is not None
    assert training is not None
    options = LoopOptions(seed=config.defense.seed)
    if training.batch_size is not None:
        options["batch_size"] = training.batch_size
    loop = learned_class.loop_config(train, training.epochs, **options)
    images = loop.total_steps(len(train)) * loop.batch_size
    precision = choose_precision(training.mixed_precision, train.image_shape, images)
    return dataclasses.replace(loop, mixed_precision=precision)


def _identified_training(
    training: TrainingConfig,
    loop: LoopConfig,
    train: Split,
    dataset: Dataset,
    pairs: Sequence[AdversarialDataset],
) -> TrainingConfig:
    """Return `training` with its epochs, batch size, precision and the names of its inputs."""
    return dataclasses.replace(
        training,
        epochs=loop.epochs,
        batch_size=loop.batch_size,
        mixed_precision=loop.mixed_precision,
        train_images=len(train) if len(train) < len(dataset.train) else None,
        init_run=_identified_run(training.init_run) if training.init_run else None,
        pairs=tuple(
            InputDirectory(str(real_path(each.directory.path)), each.name) for each in pairs
        ),
    )


def _identified_run(directory: InputDirectory) -> InputDirectory:
    """Return the run of a trained defence under its name and a hash of its settings.

    One that `config.json` names may be gone: a resumed training no longer needs it.
    """
    run = RunDirectory(directory.path, "init_run")
    if directory.identity and not run.exists():
        return directory
    config = run.require_kind("defense")
    name = f"{config.setting('defense', str)}-{hash_settings(config.settings)[:12]}"
    return InputDirectory(str(real_path(run.path)), name)
