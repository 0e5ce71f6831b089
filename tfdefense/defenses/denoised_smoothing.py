"""Denoised smoothing: a denoiser makes an ordinary classifier certifiably robust in L2.

Salman, Sun, Yang, Kapoor, Kolter, "Denoised Smoothing: A Provable Defense for Pretrained
Classifiers", NeurIPS 2020, section 3.2. The pipeline is the smoothed classifier of f(D(x)), with f
frozen and the denoiser D trained on noisy images, delta ~ N(0, sigma^2 I):

    L_MSE  = E ||D(x + delta) - x||_2^2
    L_Stab = E CE(f(D(x + delta)), f(x))
    L      = L_Stab + mse_weight L_MSE

L_MSE is a mean over pixels here; with `objective="label"` the label replaces f(x). Algorithm: for
each batch, draw delta and update D on L.

`certify` returns a radius within which no change turns the majority vote (Cohen et al. 2019, see
`core/randomized_smoothing.py`). It takes many draws; the pipeline's logits use only a few.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Classifier
from tfdefense.defenses.core.denoised_smoothing_config import (
    COLOR_RECIPE,
    DenoisedSmoothingConfig,
)
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.generator_defense import GeneratorDefense
from tfdefense.defenses.core.optimizer import ADAM_BETAS, make_adam
from tfdefense.defenses.core.randomized_defense import RandomizedDefense
from tfdefense.defenses.core.randomized_smoothing import (
    SmoothedClassifier,
    add_noise,
    certify_votes,
)
from tfdefense.networks.losses import cross_entropy, mean_squared_error
from tfdefense.training.distribute.batching import map_batches
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers
from tfdefense.training.summaries import GRID_IMAGES, image_grid
from tfdefense.training.task import VALIDATION_IMAGES, ImageGrids, Scalars, Validate
from tfdefense.utils.batch_size import fitting_batch_size

_BATCH = 100


class DenoisedSmoothing(RandomizedDefense, GeneratorDefense):
    """The denoiser in front of the frozen classifier that it is trained with, and their vote.

    A draw is one set of `votes` noisy copies, so every call with a fresh draw votes over new ones.
    The pipeline's logits are the logarithm of the mean probabilities over `votes` noisy copies, so
    an attack on them follows the mean over the noise (Salman et al., "Provably Robust Deep Learning
    via Adversarially Trained Smoothed Classifiers", NeurIPS 2019, equation (6)).

    Args:
      classifier: a Keras model or a callable from images to logits. It is never changed.
      seed: seed of the initial weights and of the noise of votes.
      **hyperparameters: values of fields of `DenoisedSmoothingConfig`.
    """

    name = "denoised_smoothing"
    summary = "Votes over noise that a purifier removes; certifiable (Cohen et al. 2019, Salman et al. 2020)"
    config_type = DenoisedSmoothingConfig
    config: DenoisedSmoothingConfig
    recipes = MappingProxyType({"color": COLOR_RECIPE})
    certifies = True
    batch_size = 50
    budget = EvaluationBudget(
        white_box_images=100, check_images=20, random_perturbations=200, eot_images=20
    )

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        with seed_layers(seed):
            self.generator = self.config.make_generator(self.classifier.image_shape)

    def prepare(self, steps: int) -> None:
        config = self.config
        self.generator_optimizer = make_adam(
            self.generator, config, steps, ADAM_BETAS, config.average
        )

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        batch = self.augment(batch, replica)
        clean, target = batch["clean"], batch["labels"]
        if self.config.objective == "stability":
            target = tf.argmax(self.classifier(clean), -1, output_type=tf.int32)
        delta = self.config.sigma * replica.normal(self.classifier.image_shape)
        with tf.GradientTape() as tape:
            denoised = self.generator(clean + delta, training=True)
            logits = self.classifier(denoised)
            classification = replica.mean(cross_entropy(target, logits))  # L_Stab
            squared_error = replica.mean(mean_squared_error(clean, denoised))  # L_MSE
            loss = classification + self.config.mse_weight * squared_error
        variables = self.generator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.generator_optimizer.apply(replica.clip(gradients, self.config.clip), variables)
        correct = tf.argmax(logits, -1, output_type=tf.int32) == target
        return {
            "loss": loss,
            "loss_classification": classification,
            "loss_mse": squared_error,
            "accuracy_noisy": replica.mean(tf.cast(correct, tf.float32)),
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def purify(self, images: tf.Tensor, draw: int | tf.Tensor | None = None) -> tf.Tensor:
        """Return the mean of the denoised noisy copies."""
        return self.purify_and_classify(self.classifier, images, draw)[0]

    def purify_and_classify(
        self, classifier: Classifier, images: tf.Tensor, draw: int | tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return, over the votes, the mean denoised images and the log of the mean probabilities."""
        keys = per_image_random.image_keys(images, self.seed, draw)
        votes = self.config.votes

        def vote(number: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            noisy = add_noise(images, keys, self.config.sigma, number)
            denoised = self.generator(noisy, training=False)
            return denoised, tf.nn.log_softmax(classifier(denoised))

        def add_vote(number: tf.Tensor, sums: tuple) -> tuple:
            denoised, logs = vote(number)
            return number + 1, (sums[0] + denoised, _log_of_sum(sums[1], logs))

        _, (denoised, logs) = tf.while_loop(
            lambda number, _: number < votes, add_vote, (tf.constant(1), vote(0))
        )
        return denoised / votes, logs - math.log(votes)

    def certify(
        self,
        images: tf.Tensor,
        radii: tf.Tensor,
        estimation_draws: int,
        selection_draws: int = 100,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return certified classes and L2 radii.

        Args:
          images: float32 [N, H, W, C] in [0, 1].
          radii: `randomized_smoothing.certified_radii` of `estimation_draws` votes.
          estimation_draws: draws that estimate the probability of the class (n of Cohen et al.).
          selection_draws: draws before them that select the class (n0 of Cohen et al.).

        Returns:
          Classes int32 [N], `randomized_smoothing.ABSTAINS` where nothing is certified, and radii
          float32 [N], images in [0, 1].
        """
        smoothed = SmoothedClassifier(
            self._classify_noisy, self.classifier.num_classes, self.config.sigma, self.seed
        )
        selection_votes = smoothed.count_votes(images, 0, selection_draws)
        estimation_votes = smoothed.count_votes(images, selection_draws, estimation_draws)
        return certify_votes(selection_votes, estimation_votes, radii)

    def _classify_noisy(self, images: tf.Tensor) -> tf.Tensor:
        """Return logits [N, K] of denoised images: f(D(x)), which is smoothed."""
        return self.classifier(self.generator(images, training=False))

    def make_validator(self, validation: Split) -> Validate:
        few = validation.take(VALIDATION_IMAGES)
        images = tf.constant(few.images[:GRID_IMAGES])
        pipeline = tf.function(
            lambda images: self.purify_and_classify(self.classifier, images)[1],
            autograph=False,
            reduce_retracing=True,
        )

        def predict(part: slice) -> tf.Tensor:
            return tf.argmax(pipeline(tf.constant(few.images[part])), axis=-1)

        def validate() -> tuple[Scalars, ImageGrids]:
            batch_size = fitting_batch_size(few.image_shape, _BATCH)
            correct = map_batches(predict, len(few), batch_size) == few.labels
            keys = per_image_random.image_keys(images, self.seed)
            noisy = add_noise(images, keys, self.config.sigma, 0)
            denoised = self.generator(noisy, training=False)
            rows = [images.numpy(), np.clip(noisy, 0, 1), denoised.numpy()]
            return (
                {"accuracy_clean_by_vote": float(np.mean(correct))},
                {"clean_noisy_and_denoised": image_grid(rows)},
            )

        return validate


def _log_of_sum(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Return log(exp(first) + exp(second)) without underflow.

    `tf.reduce_logsumexp` needs an operation that TFLite does not have.
    """
    largest = tf.stop_gradient(tf.maximum(first, second))
    return largest + tf.math.log(tf.exp(first - largest) + tf.exp(second - largest))
