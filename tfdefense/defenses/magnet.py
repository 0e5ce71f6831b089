"""MagNet: refuse images that are far from the data, and draw the others towards it.

Meng, Chen, "MagNet: a Two-Pronged Defense against Adversarial Examples", CCS 2017. Autoencoders learn what
clean images look like, from clean images alone. A *detector* (section 4.2) refuses an image that an
autoencoder reconstructs badly (4.2.1), or in whose reconstruction the classifier sees something else (4.2.2);
its threshold is what few held-out clean images exceed. The *reformer* (section 4.3) hands the classifier the
reconstruction in place of the image.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdefense.attacks import default_epsilon
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.adversarial_pairs import apply_fgsm
from tfdefense.defenses.core.defense import hyperparameter
from tfdefense.defenses.core.gan import make_adam, check_learning_rate
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.core.trained_purifier import PurifierValidator
from tfdefense.errors import require
from tfdefense.networks.autoencoder import Autoencoder
from tfdefense.networks.detectors import DetectorThresholds, jensen_shannon_divergence, reconstruction_error
from tfdefense.networks.losses import mean_squared_error
from tfdefense.training import epochs_to_show
from tfdefense.training.distribute.batching import map_batches
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers

_BATCH = 500


@dataclasses.dataclass(frozen=True)
class MagNetConfig:
    """Hyperparameters of MagNet; the defaults are its section 5's."""

    noise: float | None = hyperparameter(
        None,
        "standard deviation of the noise that the autoencoders learn to take off (default: 0.1 for grey"
        " images, 0.025 for colour)",
    )
    filters: int | None = hyperparameter(
        None, "of each convolution of the autoencoders (default: 3 for grey images, 32 for colour)"
    )
    temperatures: tuple[float, ...] | None = hyperparameter(
        None,
        "of the softmaxes that divergence detectors compare; none of them if empty (default: none for grey"
        " images, 10,40 for colour)",
    )
    false_positive_rate: float | None = hyperparameter(
        None,
        "share of clean images that each detector may refuse (default: 0.001 for grey images, 0.005 for"
        " colour)",
    )
    learning_rate: float = hyperparameter(1e-3, "Adam's")
    schedule: str = hyperparameter("constant", "learning rate over time: constant, or cosine (to zero)")

    def __post_init__(self) -> None:
        noise, filters, rate = self.noise, self.filters, self.false_positive_rate
        require(noise is None or 0 <= noise <= 1, f"--noise={noise}: a number in [0, 1] needed.")
        require(filters is None or filters >= 1, f"--filters={filters}: at least 1 needed.")
        require(
            rate is None or 0 < rate < 1,
            f"--false_positive_rate={rate}: a number above 0 and below 1 needed.",
        )
        if self.temperatures is not None:
            object.__setattr__(self, "temperatures", tuple(self.temperatures))
            for temperature in self.temperatures:
                require(
                    temperature > 0, f"--temperatures: {temperature} given, more than 0 needed."
                )
        check_learning_rate(self)


class MagNet(LearnedDefense):
    """Two autoencoders (one for colour images), their detectors, and a reformer, before one classifier.

    Args:
      classifier: a Keras model or callable from images to logits; never changed. Only divergence detectors
        know it.
      seed: initial weights.
      **hyperparameters: fields of `MagNetConfig` in place of their defaults.
    """

    name = "magnet"
    summary = "Autoencoders refuse strange images and reform the others (Meng and Chen 2017)"
    config_type = MagNetConfig
    detects = True
    needs_validation = True

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        shape = self.classifier.image_shape
        filters = self.config.filters or (3 if self.is_grey else 32)
        # Reconstruction errors are of L2 by the first, of L1 by the second, as in the paper's experiments.
        self._pooled, self._powers = ((True, False), (2, 1)) if self.is_grey else ((False,), (1,))
        with seed_layers(seed):
            self.autoencoders = [
                Autoencoder(shape[-1], filters, pooled=pooled, name=f"autoencoder_{number}")
                for number, pooled in enumerate(self._pooled, 1)
            ]
        for autoencoder in self.autoencoders:
            autoencoder.build((None, *shape))
        self.thresholds = DetectorThresholds(len(self.detectors()))

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Of the divergence detectors."""
        given = self.config.temperatures
        return given if given is not None else (() if self.is_grey else (10.0, 40.0))

    @property
    def false_positive_rate(self) -> float:
        """Share of clean images that each detector may refuse."""
        return self.config.false_positive_rate or (0.001 if self.is_grey else 0.005)

    @property
    def noise(self) -> float:
        """Standard deviation of the noise in training."""
        given = self.config.noise
        return given if given is not None else (0.1 if self.is_grey else 0.025)

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return self.autoencoders[0](images)

    def excess(self, images: tf.Tensor) -> tf.Tensor:
        """log(score / threshold) of the detector that is most alarmed."""
        ratios = self.thresholds(self.scores(images))
        return tf.math.log(tf.reduce_max(ratios, axis=-1) + 1e-12)

    def scores(self, images: tf.Tensor) -> tf.Tensor:
        """What each detector finds strange about images [N, H, W, C]: float32 [N, detectors], 0 or more."""
        rebuilt = [autoencoder(images) for autoencoder in self.autoencoders]
        scores = [
            reconstruction_error(images, each, power)
            for each, power in zip(rebuilt, self._powers, strict=True)
        ]
        if self.temperatures:
            logits, logits_rebuilt = self.classifier(images), self.classifier(rebuilt[0])
            scores += [
                jensen_shannon_divergence(logits / temperature, logits_rebuilt / temperature)
                for temperature in self.temperatures
            ]
        return tf.stack(scores, axis=-1)

    def detectors(self) -> list[str]:
        """What `scores` holds, in its order."""
        return [
            *(
                f"reconstruction_{number}_l{power}"
                for number, power in enumerate(self._powers, start=1)
            ),
            *(f"divergence_t{temperature:g}" for temperature in self.temperatures),
        ]

    def networks(self) -> dict[str, keras.Layer]:
        named = {each.name: each for each in self.autoencoders}
        return {**named, "thresholds": self.thresholds}

    def prepare(self, steps: int) -> None:
        self.optimizers = [
            make_adam(each, self.config, steps, betas=(0.9, 0.999)) for each in self.autoencoders
        ]

    def checkpoint_items(self) -> dict[str, Any]:
        optimizers = {f"optimizer_{i}": each for i, each in enumerate(self.optimizers, start=1)}
        return {**self.networks(), **optimizers}

    @classmethod
    def default_epochs(cls, train: Split) -> int:
        """As many as show about two million images: its networks are tiny."""
        return epochs_to_show(2_000_000, len(train), minimum=20, maximum=400)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        clean = batch["clean"]
        scalars = {}
        for autoencoder, optimizer in zip(self.autoencoders, self.optimizers, strict=True):
            noise = self.noise * replica.normal(self.classifier.image_shape)
            noisy = tf.clip_by_value(clean + noise, 0.0, 1.0)
            variables = autoencoder.trainable_variables
            with tf.GradientTape() as tape:
                rebuilt = autoencoder(noisy, training=True)
                loss = replica.mean(mean_squared_error(clean, rebuilt))
            gradients = tape.gradient(loss, variables)
            optimizer.apply(gradients, variables)
            scalars[f"loss_{autoencoder.name}"] = loss
            scalars[f"gradient_norm_{autoencoder.name}"] = replica.gradient_norm(gradients)
        return scalars

    def watch(self, validation: Split) -> Callable[[], tuple[dict, dict]]:
        see = PurifierValidator(self, validation, (default_epsilon(validation.image_shape),))
        scores = tf.function(self.scores, reduce_retracing=True)
        excess = tf.function(self.excess, reduce_retracing=True)

        def refused(images: Callable[[slice], tf.Tensor]) -> float:
            over = map_batches(lambda part: excess(images(part)), len(validation), _BATCH) > 0
            return float(np.mean(over))

        def calibrate_and_see() -> tuple[dict, dict]:
            found = map_batches(
                lambda part: scores(validation.images[part]), len(validation), _BATCH
            )
            self.thresholds.assign(calibrate_thresholds(found, self.false_positive_rate))
            scalars, images = see()
            scalars["refused_clean"] = refused(lambda part: validation.images[part])
            for strength in see.strengths:
                scalars[f"refused_fgsm_{strength:g}"] = refused(
                    lambda part, strength=strength: apply_fgsm(
                        {name: array[part] for name, array in see.pairs.items()},
                        tf.constant(strength),
                    )
                )
            return scalars, images

        return calibrate_and_see


def calibrate_thresholds(scores: np.ndarray, false_positive_rate: float) -> np.ndarray:
    """The least thresholds [D] that at most a share `false_positive_rate` of scores [N, D] exceed."""
    count = len(scores)
    allowed = int(false_positive_rate * count + 1e-9)
    least = np.sort(scores, axis=0)[count - 1 - allowed]
    return np.maximum(least, 1e-12).astype(np.float32)  # Scores are divided by them.
