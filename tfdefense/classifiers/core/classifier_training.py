"""Training of classifiers, with the same loop as the defences."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.classifiers.core.architecture import Architecture, Recipe
from tfdefense.classifiers.core.augmentation import (
    Augmentation,
    draw_mirrored_first,
    is_mirrored,
)
from tfdefense.classifiers.core.averaged_weights import AveragedWeights
from tfdefense.classifiers.core.classifier_config import ClassifierConfig
from tfdefense.classifiers.core.classifier_optimizer import make_optimizer
from tfdefense.classifiers.core.inference import compile_inference, measure_split
from tfdefense.data.core.dataset import Dataset
from tfdefense.data.core.disk_array import DiskArray
from tfdefense.data.core.mirroring import require_mirrorable
from tfdefense.networks.upcast import upcast_bfloat16
from tfdefense.training import LoopConfig, Replica, Trainer, usual_batch_size
from tfdefense.training.best_weights import BestWeights
from tfdefense.training.precision_trial import choose_precision
from tfdefense.training.seeding import seed_layers
from tfdefense.training.summaries import image_grid
from tfdefense.training.task import ImageGrids, Scalars

_GRID_IMAGES = 16
# Of the gradient of a step of SGD, after the first tenth of the steps. At the highest learning rate
# norms are usually below 2, but a spike of 20 destroyed a training (docs/results/classifiers.md).
_LARGEST_NORM, _NO_LIMIT = 5.0, 1e9
# Part of the steps of a triangle in which training may stop early. Before, the learning rate is high,
# and after one lucky validation many are worse.
_STOPPING_FROM = 0.75
_MIN_BATCH, _MIN_STEPS_PER_EPOCH = 16, 32
_NEW_SETTINGS = ("schedule", "mirror", "cutout", "average")


class ClassifierTraining:
    """Training of a classifier with cross-entropy on clean images.

    The result has the weights with the lowest validation loss: with `average`, averaged weights.

    Args:
      architecture: the network to build, and the recipe that trains it.
      data: `data.train` is for training and `data.validation` for validation. `data.test` is not used.
      seed: initial weights, dropout masks, order of data and augmentation follow from it.
      config: changes to the recipe.

    Attributes:
      model: the network.
      best: a copy of the best weights; `best.score` is the negative validation loss.
      seconds: duration of the training, including the time before resumes.
      frozen_networks: none; see `Task`.

    Raises:
      UserError: images that the network cannot take, or settings that do not fit them.
    """

    frozen_networks: Sequence[keras.Layer] = ()

    def __init__(
        self,
        architecture: Architecture,
        data: Dataset,
        seed: int = 0,
        config: ClassifierConfig | None = None,
    ) -> None:
        config = config or ClassifierConfig()
        self.architecture = architecture
        self.name = f"{architecture.name} on {data.name}"
        self.data = data
        self.patience = config.patience
        self.recipe = _fit_to_data(
            config.apply_to(architecture.recipe(data.image_shape)), config, data
        )
        # Before other checks: the recipe may not fit images that are too small for the network either.
        with seed_layers(seed):
            self.model = architecture.build(data.image_shape, data.num_classes)
        count = len(data.train)
        epochs = config.epochs or self.recipe.count_epochs(count)
        self.augmentation = Augmentation(
            self.recipe.augmentation, self.recipe.mirror, self.recipe.cutout
        )
        self.augmentation.require_fits(data.image_shape)
        precision = choose_precision(config.mixed_precision, data.image_shape, epochs * count)
        self.loop = LoopConfig(epochs, self.recipe.batch_size, seed, precision)
        steps = self.loop.total_steps(count)
        self.optimizer = make_optimizer(self.recipe, steps)
        self.optimizer.build(self.model.trainable_variables)
        self._limited_from = steps // 10
        self._stops_from = _STOPPING_FROM * steps if self.recipe.schedule == "triangle" else 0
        self._averaged = AveragedWeights(self.model, self.optimizer, data.train, self.loop)
        self.best = BestWeights(self.model)
        self._infer = compile_inference(self.model)
        self.seconds = 0.0

    def settings(self) -> dict[str, Any]:
        """Return flag name -> value of everything except data and network that changes the weights."""
        recipe = dataclasses.asdict(self.recipe)
        del recipe["training_images"], recipe["most_epochs"]  # `epochs` follows from them.
        usual = self.architecture.recipe(self.data.image_shape)
        for name in _NEW_SETTINGS:  # Runs of older versions have none of them.
            if recipe[name] == getattr(usual, name) == getattr(Recipe(), name):
                del recipe[name]
        return {
            **recipe,
            "epochs": self.loop.epochs,
            "patience": self.patience,
            "seed": self.loop.seed,
            "mixed_precision": self.loop.mixed_precision,
        }

    def fit(self, directory: Path | None = None) -> keras.Model:
        """Train, or resume from a checkpoint in `directory`; return the trained model.

        Args:
          directory: the place of checkpoints and event files; None saves nothing.

        Raises:
          WorkFailedError: the loss is no longer finite, or a file cannot be written.
        """
        describe = {"classifier": self.name, **self.settings()}
        trainer = Trainer(self, self.loop, directory, describe)
        trainer.fit(self.training_arrays(), self._validate)
        self.seconds = trainer.checkpoints.seconds
        self.best.restore()
        return self.model

    def training_arrays(self) -> dict[str, np.ndarray | DiskArray]:
        """Return name -> [N, ...] of what `train_step` needs of each training image."""
        train = self.data.train
        arrays: dict[str, np.ndarray | DiskArray] = {
            "images": train.images,
            "labels": train.labels,
        }
        if self.augmentation.mirror:
            arrays["mirrored_first"] = draw_mirrored_first(len(train), self.loop.seed)
        return arrays

    @property
    def should_stop(self) -> bool:
        """True after `patience` validations without a lower loss; see `ClassifierConfig`."""
        return 0 < self.patience <= self.best.scores_since_best

    def checkpoint_items(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "best": self.best}

    def finish(self) -> None:
        """Do nothing: `fit` restores the best weights."""

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        labels, mirrored = batch["labels"], None
        if self.augmentation.mirror:
            passes = replica.passes(len(self.data.train))
            mirrored = is_mirrored(batch["mirrored_first"], passes)
        images = self.augmentation.apply(batch["images"], replica, mirrored)
        with tf.GradientTape() as tape:
            logits = upcast_bfloat16(self.model(images, training=True))
            targets = tf.one_hot(labels, self.data.num_classes)
            smooth = self.recipe.label_smoothing
            targets = targets * (1 - smooth) + smooth / self.data.num_classes
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = replica.mean(losses)
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, variables)
        limited = replica.clip(gradients, self._largest_norm(replica.step))
        self.optimizer.apply(limited, variables)
        correct = tf.argmax(logits, -1, output_type=labels.dtype) == labels
        return {
            "loss": loss,
            "accuracy": replica.mean(tf.cast(correct, tf.float32)),
            "gradient_norm": replica.gradient_norm(gradients),
        }

    def _largest_norm(self, step: tf.Tensor) -> tf.Tensor | float:
        """Return the largest norm of the gradient in a step; 0 means no limit."""
        if self.recipe.optimizer != "sgd":
            return 0.0
        return tf.where(step < self._limited_from, _NO_LIMIT, _LARGEST_NORM)

    def _validate(self) -> tuple[Scalars, ImageGrids]:
        with self._averaged.in_use():
            return self._measure()

    def _measure(self) -> tuple[Scalars, ImageGrids]:
        split = self.data.validation
        correct, losses = measure_split(self._infer, split)
        # The loss, because good networks make so few errors that their accuracy says little.
        loss = float(np.mean(losses))
        self.best.update(-loss, counts=int(self.optimizer.iterations.numpy()) > self._stops_from)
        hardest = split.images[np.argsort(-losses)[:_GRID_IMAGES]]
        return {"accuracy": float(np.mean(correct)), "loss": loss}, {
            "hardest": image_grid([hardest])
        }


def _fit_to_data(recipe: Recipe, config: ClassifierConfig, data: Dataset) -> Recipe:
    """Return `recipe` with the batch size, learning rate and mirroring that these images allow.

    SGD over few images has smaller batches, so that it makes as many steps as it needs. Its learning
    rate is proportional to the batch (Goyal et al. 2017, "Accurate, Large Minibatch SGD").
    """
    if config.batch_size is None:
        largest = recipe.batch_size
        if recipe.optimizer == "sgd":
            largest = min(largest, max(_MIN_BATCH, len(data.train) // _MIN_STEPS_PER_EPOCH))
        usual = usual_batch_size(data.image_shape, largest)
        if recipe.optimizer == "sgd" and config.learning_rate is None:
            rate = recipe.learning_rate * usual / recipe.batch_size
            recipe = dataclasses.replace(recipe, learning_rate=rate)
        recipe = dataclasses.replace(recipe, batch_size=usual)
    if config.mirror:
        require_mirrorable(data.source, data.name)
    if config.mirror is None and data.keeps_class_mirrored is not True:
        recipe = dataclasses.replace(recipe, mirror=False)
    return recipe
