"""MagNet: refuses images that are far from the training data and reconstructs the others.

Meng, Chen, "MagNet: a Two-Pronged Defense against Adversarial Examples", CCS 2017. Autoencoders learn
to reconstruct clean images x from noisy ones, on clean images alone:

    L = E ||ae(x + noise) - x||^2

A *detector* (section 4.2) refuses an image whose reconstruction error is high (4.2.1), or whose
reconstruction the classifier classifies differently (4.2.2: Jensen-Shannon divergence of the
softmaxes at a temperature). Its threshold is exceeded by a given fraction of held-out clean images.
The *reformer* (section 4.3) passes the reconstruction to the classifier. Algorithm: for each batch,
update each autoencoder on L; at each validation, calibrate the thresholds.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.augmenting_defense import AugmentationConfig
from tfdefense.defenses.core.detector_validator import DetectorValidator
from tfdefense.defenses.core.hyperparameters import (
    SCHEDULE_HELP,
    check_fraction,
    check_learning_rate,
    hyperparameter,
)
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.core.optimizer import ADAM_BETAS, make_adam
from tfdefense.errors import require
from tfdefense.networks.autoencoder import Autoencoder
from tfdefense.networks.detectors import (
    DetectorThresholds,
    jensen_shannon_divergence,
    reconstruction_error,
)
from tfdefense.networks.losses import mean_squared_error
from tfdefense.training import epochs_to_show
from tfdefense.training.distribute.batching import map_batches
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers
from tfdefense.utils.batch_size import fitting_batch_size

_BATCH = 500


@dataclasses.dataclass(frozen=True)
class MagNetConfig(AugmentationConfig):
    """Hyperparameters of MagNet. The defaults are those of section 5."""

    noise: float | None = hyperparameter(
        None,
        "standard deviation of the noise that the autoencoders learn to remove (default: 0.1 for grey"
        " images, 0.025 for colour)",
    )
    filters: int | None = hyperparameter(
        None,
        "filters of each convolution of the autoencoders (default: 3 for grey images, 32 for colour)",
    )
    temperatures: tuple[float, ...] | None = hyperparameter(
        None,
        "softmax temperatures, one divergence detector for each; empty for none (default: none for"
        " grey images, 10,40 for colour)",
    )
    false_positive_rate: float | None = hyperparameter(
        None,
        "fraction of clean images that each detector may refuse (default: 0.001 for grey images,"
        " 0.005 for colour)",
    )
    learning_rate: float = hyperparameter(1e-3, "Adam's")
    schedule: str = hyperparameter("constant", SCHEDULE_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        filters, rate = self.filters, self.false_positive_rate
        check_fraction(self, "noise")
        require(filters is None or filters >= 1, f"--filters={filters}: at least 1 is needed.")
        require(
            rate is None or 0 < rate < 1,
            f"--false_positive_rate={rate}: a number above 0 and below 1 is needed.",
        )
        if self.temperatures is not None:
            # The dataclass is frozen.
            object.__setattr__(self, "temperatures", tuple(self.temperatures))
            for value in self.temperatures:
                require(value > 0, f"--temperatures: {value} given, more than 0 is needed.")
        check_learning_rate(self)


class MagNet(LearnedDefense):
    """Autoencoders (two for grey images, one for colour), their detectors, and a reformer.

    Args:
      classifier: a Keras model or a callable from images to logits. It is never changed; only
        divergence detectors use it.
      seed: seed of the initial weights.
      **hyperparameters: values of fields of `MagNetConfig`.

    Attributes:
      autoencoders: the networks; the first one is also the reformer.
      thresholds: threshold of each detector.
    """

    name = "magnet"
    summary = "Autoencoders refuse strange images and reform the others (Meng and Chen 2017)"
    training_attributes = ("optimizers",)
    config_type = MagNetConfig
    config: MagNetConfig
    detects = True
    needs_validation = True

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        shape = self.classifier.image_shape
        filters = self.config.filters or (3 if self.has_grey_images else 32)
        # As in section 5: error in L2 by the first autoencoder, in L1 by the last one.
        pooled: tuple[bool, ...] = (True, False) if self.has_grey_images else (False,)
        self._error_powers: tuple[int, ...] = (2, 1) if self.has_grey_images else (1,)
        with seed_layers(seed):
            self.autoencoders = [
                Autoencoder(shape[-1], filters, pooled=pool, name=f"autoencoder_{number}")
                for number, pool in enumerate(pooled, 1)
            ]
        for autoencoder in self.autoencoders:
            autoencoder.build((None, *shape))
        self.thresholds = DetectorThresholds(len(self.detector_names()))

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Softmax temperatures of the divergence detectors."""
        given = self.config.temperatures
        return given if given is not None else (() if self.has_grey_images else (10.0, 40.0))

    @property
    def false_positive_rate(self) -> float:
        """Fraction of clean images that each detector may refuse."""
        return self.config.false_positive_rate or (0.001 if self.has_grey_images else 0.005)

    @property
    def noise(self) -> float:
        """Standard deviation of the noise in training."""
        given = self.config.noise
        return given if given is not None else (0.1 if self.has_grey_images else 0.025)

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return self.autoencoders[0](images)

    def detector_score(self, images: tf.Tensor) -> tf.Tensor:
        """Return log(distance / threshold), the maximum over the detectors, float32 [N]."""
        ratios = self.thresholds(self.distances(images))
        return tf.math.log(tf.reduce_max(ratios, axis=-1) + 1e-12)

    def distances(self, images: tf.Tensor) -> tf.Tensor:
        """Return the distance from the training data that each detector measures.

        Args:
          images: float32 [N, H, W, C] in [0, 1].

        Returns:
          float32 [N, D], 0 or more, in the order of `detector_names`.
        """
        reconstructions = [autoencoder(images) for autoencoder in self.autoencoders]
        distances = [
            reconstruction_error(images, reconstruction, power)
            for reconstruction, power in zip(reconstructions, self._error_powers, strict=True)
        ]
        if self.temperatures:
            logits = self.classifier(images)
            reformed_logits = self.classifier(reconstructions[0])
            distances += [
                jensen_shannon_divergence(logits / temperature, reformed_logits / temperature)
                for temperature in self.temperatures
            ]
        return tf.stack(distances, axis=-1)

    def detector_names(self) -> list[str]:
        """Return the name of each detector."""
        reconstruction = [
            f"reconstruction_{number}_l{power}"
            for number, power in enumerate(self._error_powers, start=1)
        ]
        divergence = [f"divergence_t{temperature:g}" for temperature in self.temperatures]
        return reconstruction + divergence

    def networks(self) -> dict[str, keras.Layer]:
        autoencoders = {autoencoder.name: autoencoder for autoencoder in self.autoencoders}
        return {**autoencoders, "thresholds": self.thresholds}

    def prepare(self, steps: int) -> None:
        self.optimizers = [
            make_adam(autoencoder, self.config, steps, betas=ADAM_BETAS)
            for autoencoder in self.autoencoders
        ]

    def checkpoint_items(self) -> dict[str, Any]:
        optimizers = {f"optimizer_{i}": each for i, each in enumerate(self.optimizers, start=1)}
        return {**self.networks(), **optimizers}

    @classmethod
    def default_epochs(cls, train: Split) -> int:
        """Return the number of epochs that show about two million images: the networks are tiny."""
        return epochs_to_show(2_000_000, len(train), 20, 400, train.image_shape)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        clean = self.augment(batch, replica)["clean"]
        scalars = {}
        for autoencoder, optimizer in zip(self.autoencoders, self.optimizers, strict=True):
            noise = self.noise * replica.normal(self.classifier.image_shape)
            noisy = tf.clip_by_value(clean + noise, 0.0, 1.0)
            variables = autoencoder.trainable_variables
            with tf.GradientTape() as tape:
                reconstruction = autoencoder(noisy, training=True)
                loss = replica.mean(mean_squared_error(clean, reconstruction))
            gradients = tape.gradient(loss, variables)
            optimizer.apply(gradients, variables)
            scalars[f"loss_{autoencoder.name}"] = loss
            scalars[f"gradient_norm_{autoencoder.name}"] = replica.gradient_norm(gradients)
        return scalars

    def make_validator(self, validation: Split) -> DetectorValidator:
        distances = tf.function(self.distances, autograph=False, reduce_retracing=True)

        def calibrate() -> None:
            clean_distances = map_batches(
                lambda part: distances(validation.images[part]),
                len(validation),
                fitting_batch_size(validation.image_shape, _BATCH),
            )
            self.thresholds.assign(calibrate_thresholds(clean_distances, self.false_positive_rate))

        return DetectorValidator(self, validation, calibrate)


def calibrate_thresholds(distances: np.ndarray, false_positive_rate: float) -> np.ndarray:
    """Return the smallest thresholds that at most a given fraction of clean images exceeds.

    Args:
      distances: distances of held-out clean images, float32 [N, D].
      false_positive_rate: the fraction, in (0, 1).

    Returns:
      float32 [D], above 0, because distances are divided by them.
    """
    count = len(distances)
    allowed = int(false_positive_rate * count + 1e-9)
    thresholds = np.sort(distances, axis=0)[count - 1 - allowed]
    return np.maximum(thresholds, 1e-12).astype(np.float32)
