"""Denoised smoothing: a purifier that removes Gaussian noise makes an ordinary classifier certifiably robust in L2.

Salman, Sun, Yang, Kapoor, Kolter, "Denoised Smoothing: A Provable Defense for Pretrained Classifiers", NeurIPS 2020: the
smoothed classifier of f(D(x)), with f frozen and D trained on noisy images. Its objectives (section 3.2), the first here a
mean over pixels and added with `mse_weight` to the second, are

    L_MSE = E ||D(x + delta) - x||^2        L_Stab = E CE(f(D(x + delta)), f(x)),    delta ~ N(0, sigma^2 I)

`bin/certify` gives each image a radius within which no change whatsoever turns the majority's vote. What it certifies is that
vote, with as many draws as it takes; `decide` answers with mean probabilities over a few.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core import randomized_smoothing
from tfdefense.defenses.core.defense import hyperparameter
from tfdefense.defenses.core.gan import GeneratorConfig, make_adam, check_learning_rate, check_not_negative
from tfdefense.defenses.core.trained_purifier import GeneratorDefense
from tfdefense.errors import require, unknown_name
from tfdefense.networks.losses import cross_entropy, mean_squared_error
from tfdefense.training.distribute.batching import map_batches
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers
from tfdefense.training.summaries import image_grid

_OBJECTIVES = ("stability", "label")
_WATCHED_IMAGES = 500
_GRID_IMAGES = 8
_BATCH = 100


@dataclasses.dataclass(frozen=True)
class DenoisedSmoothingConfig(GeneratorConfig):
    """Hyperparameters of denoised smoothing."""

    sigma: float = hyperparameter(
        0.25, "standard deviation of the noise, images in [0, 1]; more certifies larger changes"
    )
    votes: int = hyperparameter(
        16, "noisy copies of an image whose votes decide, where nothing is certified"
    )
    objective: str = hyperparameter(
        "stability",
        "what the classifier is to say of a denoised image: what it says of the clean one (stability, as in the paper),"
        " or the label",
    )
    mse_weight: float = hyperparameter(1.0, "weight of the squared error between denoised and clean image")
    generator: str = hyperparameter("small_unet", "small_unet, encoder_decoder or unet")
    learning_rate: float = hyperparameter(1e-3, "Adam's")
    schedule: str = hyperparameter("cosine", "learning rate over time: cosine (to zero), or constant")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.sigma > 0, f"--sigma={self.sigma}: more than 0 needed.")
        require(self.votes >= 1, f"--votes={self.votes}: at least 1 needed.")
        if self.objective not in _OBJECTIVES:
            raise unknown_name("--objective", self.objective, _OBJECTIVES)
        check_not_negative(self, "mse_weight")
        check_learning_rate(self)


class DenoisedSmoothing(GeneratorDefense):
    """The denoiser in front of (and trained with) one frozen classifier, and their vote.

    Its logits are the logarithm of the mean probabilities over `votes` noisy copies, so an attack on them follows the mean
    over the noise (Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019,
    equation (6)).

    Args:
      classifier: a Keras model or callable from images to logits; never changed.
      seed: initial weights, and the noise of votes.
      **hyperparameters: fields of `DenoisedSmoothingConfig` in place of their defaults.
    """

    name = "denoised_smoothing"
    summary = "Votes over noise that a purifier removes; certifiable (Cohen et al. 2019, Salman et al. 2020)"
    config_type = DenoisedSmoothingConfig
    certifies = True
    batch_size = 50
    white_box_images = 100
    checked_images = 20
    random_draws = 200

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        with seed_layers(seed):
            self.generator = self.config.make_generator(self.classifier.image_shape)

    def prepare(self, steps: int) -> None:
        self.generator_optimizer = make_adam(
            self.generator, self.config, steps, (0.9, 0.999), self.config.average
        )

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        clean, labels = batch["clean"], batch["labels"]
        if self.config.objective == "stability":
            labels = tf.argmax(self.classifier(clean), -1, output_type=tf.int32)
        noise = self.config.sigma * replica.normal(self.classifier.image_shape)
        with tf.GradientTape() as tape:
            denoised = self.generator(clean + noise, training=True)
            logits = self.classifier(denoised)
            classification = replica.mean(cross_entropy(labels, logits))
            squared_error = replica.mean(mean_squared_error(clean, denoised))
            loss = classification + self.config.mse_weight * squared_error
        variables = self.generator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.generator_optimizer.apply(gradients, variables)
        right = tf.argmax(logits, -1, output_type=tf.int32) == labels
        return {
            "loss": loss,
            "loss_classification": classification,
            "loss_mse": squared_error,
            "accuracy_noisy": replica.mean(tf.cast(right, tf.float32)),
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def denoised_logits(self, images: tf.Tensor) -> tf.Tensor:
        """Logits [N, K] of noisy images: what is smoothed."""
        return self.classifier(self.generator(images, training=False))

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return self.decide(self.classifier, images)[0]

    def decide(
        self, classifier: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The mean denoised image, and the logarithm of the mean probabilities, over the votes."""
        keys = per_image_random.image_keys(images, self.seed)

        def once(number: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            noisy = randomized_smoothing.add_noise(images, keys, self.config.sigma, number)
            denoised = self.generator(noisy, training=False)
            return denoised, tf.nn.softmax(classifier(denoised))

        def add(number: tf.Tensor, sums: tuple) -> tuple:
            return number + 1, tf.nest.map_structure(tf.add, sums, once(number))

        count = self.config.votes
        _, (images, shares) = tf.while_loop(
            lambda number, _: number < count, add, (tf.constant(1), once(0))
        )
        return images / count, tf.math.log(shares / count + 1e-12)

    def certify(
        self, images: tf.Tensor, radii: tf.Tensor, count: int, first: int = 100
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Classes int32 [N], `smoothing.ABSTAINS` where none is sure, and certified L2 radii float32 [N].

        Args:
          images: float32 [N, H, W, C] in [0, 1].
          radii: `smoothing.radii_of` `count` votes.
          count: votes that judge.
          first: votes before them that choose the class (n0 of the paper).
        """

        def votes(begin: int, many: int) -> tf.Tensor:
            given = (self.config.sigma, begin, many, self.seed, self.classifier.num_classes)
            return randomized_smoothing.votes(self.denoised_logits, images, *given)

        return randomized_smoothing.certify_votes(votes(0, first), votes(first, count), radii)

    def watch(self, validation: Split) -> Callable[[], tuple[dict, dict]]:
        few = validation.take(_WATCHED_IMAGES)
        images = tf.constant(few.images[:_GRID_IMAGES])
        decide = tf.function(
            lambda images: self.decide(self.classifier, images), reduce_retracing=True
        )

        def predicted(part: slice) -> tf.Tensor:
            return tf.argmax(decide(tf.constant(few.images[part]))[1], axis=-1)

        def see() -> tuple[dict, dict]:
            right = map_batches(predicted, len(few), _BATCH) == few.labels
            keys = per_image_random.image_keys(images, self.seed)
            noisy = randomized_smoothing.add_noise(images, keys, self.config.sigma, 0)
            rows = [
                images.numpy(),
                np.clip(noisy, 0, 1),
                self.generator(noisy, training=False).numpy(),
            ]
            return {"accuracy_clean_by_vote": float(np.mean(right))}, {
                "clean_noisy_and_denoised": image_grid(rows)
            }

        return see
