"""Defense-GAN: replaces an image by the nearest one that a generator of clean images can produce.

Samangouei, Kabkab, Chellappa, "Defense-GAN: Protecting Classifiers Against Adversarial Attacks Using
Generative Models", ICLR 2018, section 4. A WGAN-GP learns to generate clean images, without labels
and attacks: the critic minimises equation (3) of Gulrajani et al. 2017 (`core/wgan_gp.py`), the
generator G minimises -E[C(G(z))], z ~ N(0, I). An image x is then replaced by G(z*), equation (4):

    z* = arg min_z ||G(z) - x||_2^2

Algorithm of `purify`: L steps of gradient descent with momentum from each of R random codes; the
nearest of the R images is returned.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.bpda import bpda
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.augmenting_defense import AugmentationConfig
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.hyperparameters import (
    SCHEDULE_HELP,
    check_learning_rate,
    check_not_negative,
    hyperparameter,
)
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.core.optimizer import make_adam
from tfdefense.defenses.core.wgan_gp import CriticTrainer
from tfdefense.errors import require
from tfdefense.networks.critic import Critic
from tfdefense.networks.latent_generator import LatentGenerator
from tfdefense.networks.losses import mean_squared_error, wasserstein_generator_loss
from tfdefense.training import epochs_to_show
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers
from tfdefense.training.summaries import GRID_IMAGES, image_grid
from tfdefense.training.task import ImageGrids, Scalars, Validate

# No momentum, and a faster critic in place of several critic steps: Heusel et al., "GANs Trained by a
# Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017.
_BETAS = (0.0, 0.9)


@dataclasses.dataclass(frozen=True)
class DefenseGANConfig(AugmentationConfig):
    """Hyperparameters of Defense-GAN. Restarts and steps are those of the paper's tables."""

    restarts: int = hyperparameter(10, "R, number of random codes where the search starts")
    search_steps: int = hyperparameter(200, "L, steps of gradient descent from each of them")
    search_rate: float = hyperparameter(
        10.0, "step size of the search; a tenth of it in the last fifth"
    )
    search_momentum: float = hyperparameter(0.7, "momentum of the search, in [0, 1)")
    code_size: int = hyperparameter(128, "length of a code")
    generator_filters: int = hyperparameter(
        32,
        "filters of the generator's last hidden layer, 2 and 4 times as many before; 64 in the paper",
    )
    penalty_weight: float = hyperparameter(10.0, "weight of the critic's gradient penalty")
    learning_rate: float = hyperparameter(5e-4, "Adam's, of the generator")
    critic_learning_rate: float = hyperparameter(1e-3, "Adam's, of the critic")
    schedule: str = hyperparameter("cosine", SCHEDULE_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("restarts", "search_steps", "code_size", "generator_filters"):
            value = getattr(self, name)
            require(value >= 1, f"--{name}={value}: at least 1 is needed.")
        for name in ("search_rate", "critic_learning_rate"):
            value = getattr(self, name)
            require(value > 0, f"--{name}={value}: more than 0 is needed.")
        momentum = self.search_momentum
        require(0 <= momentum < 1, f"--search_momentum={momentum}: a number in [0, 1) is needed.")
        check_not_negative(self, "penalty_weight")
        check_learning_rate(self)


class DefenseGAN(LearnedDefense):
    """Generator of clean images, and the search for the nearest image that it can produce.

    The random codes are a function of the image and of `seed`, so the result for an image does not
    depend on its batch. Attacks use the identity as the gradient of the search (BPDA).

    Args:
      classifier: guarded classifier, which the generator does not use.
      seed: seed of the initial weights and of the codes where searches start.
      **hyperparameters: values of fields of `DefenseGANConfig`.
    """

    name = "defense_gan"
    summary = "The nearest image that a WGAN of clean images can generate (Samangouei et al. 2018)"
    config_type = DefenseGANConfig
    config: DefenseGANConfig
    # An image costs about 2,000 forward and backward passes of the generator.
    batch_size = 25
    budget = EvaluationBudget(
        images=200, white_box_images=20, check_images=2, check_steps=10, random_perturbations=100
    )

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        image_shape, config = self.classifier.image_shape, self.config
        with seed_layers(seed):
            self.generator = LatentGenerator(
                image_shape, config.code_size, config.generator_filters
            )
            filters = tuple(config.generator_filters * factor for factor in (1, 2, 4))
            self.critic = Critic(filters)
            self.generator.build((None, config.code_size))
            self.critic.build((None, *image_shape))

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return bpda(self._nearest_images)(images)

    def _nearest_images(self, images: tf.Tensor) -> tf.Tensor:
        """Return G(z*) of images [N, H, W, C]: the nearest image of R searches each."""
        config = self.config
        keys = per_image_random.image_keys(images, self.seed)
        start = per_image_random.normal(keys, [config.restarts, config.code_size], stream=0)
        codes = self.search_codes(
            tf.repeat(images, config.restarts, axis=0), tf.reshape(start, [-1, config.code_size])
        )
        shape = [tf.shape(images)[0], config.restarts, *images.shape[1:]]
        candidates = tf.reshape(self.generator(codes), shape)
        distances = tf.reduce_mean(tf.square(candidates - images[:, tf.newaxis]), axis=[2, 3, 4])
        return tf.gather(candidates, tf.argmin(distances, axis=1), batch_dims=1)

    def search_codes(self, images: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        """Minimise equation (4) over the codes, separately for each, and return the codes.

        Args:
          images: float32 [N, H, W, C].
          codes: initial codes [N, Z].
        """
        config = self.config
        slow_from = tf.cast(0.8 * config.search_steps, tf.int32)

        def descend(number: tf.Tensor, codes: tf.Tensor, velocity: tf.Tensor) -> tuple:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(codes)
                errors = mean_squared_error(images, self.generator(codes))
            rate = config.search_rate * tf.where(number < slow_from, 1.0, 0.1)
            velocity = config.search_momentum * velocity - rate * tape.gradient(errors, codes)
            return number + 1, codes + velocity, velocity

        return tf.while_loop(
            lambda number, *_: number < config.search_steps,
            descend,
            (tf.constant(0), codes, tf.zeros_like(codes)),
        )[1]

    def networks(self) -> dict[str, keras.Layer]:
        return {"generator": self.generator}

    def prepare(self, steps: int) -> None:
        config = self.config
        critic_config = dataclasses.replace(config, learning_rate=config.critic_learning_rate)
        self.generator_optimizer = make_adam(self.generator, config, steps, _BETAS)
        self.critic_optimizer = make_adam(self.critic, critic_config, steps, _BETAS)

    @classmethod
    def default_epochs(cls, train: Split) -> int:
        """Return the number of epochs that show about a million images."""
        return epochs_to_show(1_000_000, len(train), 10, 400, train.image_shape)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        clean = self.augment(batch, replica)["clean"]
        codes = replica.normal((self.config.code_size,))
        # G(z) is computed once, for both updates.
        with tf.GradientTape() as generator_tape:
            generated = self.generator(codes, training=True)
        critic = CriticTrainer(self.critic, self.critic_optimizer, self.config.penalty_weight)
        critic_scalars = critic.step(clean, generated, replica)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(generated)
            loss = replica.mean(wasserstein_generator_loss(self.critic(generated)))
        variables = self.generator.trainable_variables
        gradients = generator_tape.gradient(
            generated, variables, output_gradients=tape.gradient(loss, generated)
        )
        self.generator_optimizer.apply(gradients, variables)
        return {
            "loss_generator": loss,
            **critic_scalars,
            "gradient_norm_generator": replica.gradient_norm(gradients),
        }

    def make_validator(self, validation: Split) -> Validate:
        """Return a function that shows nearest and random images; accuracies would take too long."""
        images = tf.constant(validation.images[:GRID_IMAGES])
        keys = per_image_random.image_keys(images, self.seed)
        codes = per_image_random.normal(keys, [self.config.code_size], stream=1)
        nearest_images = tf.function(self._nearest_images, autograph=False)

        def validate() -> tuple[Scalars, ImageGrids]:
            nearest = nearest_images(images)
            error = tf.reduce_mean(mean_squared_error(images, nearest))
            grids = {
                "clean_then_nearest": image_grid([images, nearest]),
                "generated": image_grid([self.generator(codes)]),
            }
            return {"loss_nearest": float(error)}, grids

        return validate
