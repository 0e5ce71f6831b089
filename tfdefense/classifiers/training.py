"""How the networks under attack are trained: by the same loop as the defences."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.classifiers.architecture import Architecture
from tfdefense.data.dataset import Dataset, Split
from tfdefense.training import LoopConfig, Replica, Trainer, epochs_for
from tfdefense.training.seeding import seeded


class ClassifierTraining:
    """Cross-entropy on clean images, Adam, learning rate falling to zero along a cosine.

    Args:
      architecture: what to build and by which recipe to train it.
      data: trains on `data.train`, validates on `data.validation`; never sees `data.test`.
      seed: initial weights, dropout masks, order of data.
      epochs: passes; None means the recipe's.
    """

    def __init__(
        self, architecture: Architecture, data: Dataset, seed: int = 0, epochs: int | None = None
    ) -> None:
        self.name = f"{architecture.name} on {data.name}"
        self.data = data
        count = len(data.train)
        self.config = LoopConfig(
            epochs=epochs or epochs_for(architecture.training_images, count, 5, 60),
            batch_size=architecture.batch_size,
            seed=seed,
            validations=10,
        )
        with seeded(seed):
            self.model = architecture.build(data.image_shape, data.num_classes)
        schedule = keras.optimizers.schedules.CosineDecay(
            architecture.learning_rate, self.config.steps(count)
        )
        self.optimizer = keras.optimizers.Adam(schedule)
        self.optimizer.build(self.model.trainable_variables)

    def fit(self, directory: Path | None = None) -> keras.Model:
        """Trains, going on from a checkpoint in `directory` if there is one; returns the model."""
        trainer = Trainer(self, self.config, directory, describe={"classifier": self.name})
        train = self.data.train
        trainer.fit({"images": train.images, "labels": train.labels}, self._validate)
        return self.model

    def checkpoint_items(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer}

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        labels = batch["labels"]
        with tf.GradientTape() as tape:
            logits = self.model(batch["images"], training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = replica.mean(losses)
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        correct = tf.argmax(logits, -1, output_type=labels.dtype) == labels
        return {"loss": loss, "accuracy": replica.mean(tf.cast(correct, tf.float32))}

    def _validate(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        return {"accuracy": accuracy(self.model, self.data.validation)}, {}


def accuracy(model: keras.Model, split: Split, batch_size: int = 500) -> float:
    """Share of `split` that `model` classifies correctly."""
    logits = model.predict(split.images, batch_size=batch_size, verbose=0)
    return float(np.mean(np.argmax(logits, -1) == split.labels))
