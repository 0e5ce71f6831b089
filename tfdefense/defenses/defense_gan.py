"""Defense-GAN: replace an image by the nearest one that a generator of clean images can make.

Samangouei, Kabkab, Chellappa, "Defense-GAN: Protecting Classifiers Against Adversarial Attacks Using
Generative Models", ICLR 2018. A WGAN-GP (Gulrajani et al. 2017) learns clean images, without a label or an
attack. An image x is then replaced by G(z*), equation (4) of section 4:

    z* = arg min_z ||G(z) - x||^2

by L steps of gradient descent from each of R random codes; the nearest of the R counts.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.bpda import bpda
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import hyperparameter
from tfdefense.defenses.core.gan import make_adam, check_learning_rate, check_not_negative, update_critic
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.errors import require
from tfdefense.networks.critic import Critic
from tfdefense.networks.latent_generator import LatentGenerator
from tfdefense.networks.losses import mean_squared_error, wasserstein_generator_loss
from tfdefense.training import epochs_to_show
from tfdefense.training.replica import Replica
from tfdefense.training.seeding import seed_layers
from tfdefense.training.summaries import image_grid

_GRID_IMAGES = 8


@dataclasses.dataclass(frozen=True)
class DefenseGANConfig:
    """Hyperparameters of Defense-GAN; restarts and steps are those of the paper's tables."""

    restarts: int = hyperparameter(10, "R, random codes from which the search for an image begins")
    search_steps: int = hyperparameter(200, "L, steps of gradient descent from each of them")
    search_rate: float = hyperparameter(10.0, "step size of the search; a tenth of it in the last fifth")
    search_momentum: float = hyperparameter(0.7, "momentum of the search, in [0, 1)")
    code_size: int = hyperparameter(128, "length of a code")
    generator_filters: int = hyperparameter(
        32, "of the generator's last hidden layer, 2 and 4 times as many before; the paper's are 64"
    )
    penalty_weight: float = hyperparameter(10.0, "weight of the critic's gradient penalty")
    learning_rate: float = hyperparameter(5e-4, "Adam's, of the generator")
    critic_learning_rate: float = hyperparameter(1e-3, "Adam's, of the critic")
    schedule: str = hyperparameter("cosine", "learning rate over time: cosine (to zero), or constant")

    def __post_init__(self) -> None:
        for name in ("restarts", "search_steps", "code_size", "generator_filters"):
            value = getattr(self, name)
            require(value >= 1, f"--{name}={value}: at least 1 needed.")
        for name in ("search_rate", "critic_learning_rate"):
            value = getattr(self, name)
            require(value > 0, f"--{name}={value}: more than 0 needed.")
        momentum = self.search_momentum
        require(0 <= momentum < 1, f"--search_momentum={momentum}: a number in [0, 1) needed.")
        check_not_negative(self, "penalty_weight")
        check_learning_rate(self)


class DefenseGAN(LearnedDefense):
    """A generator of clean images, and the search in it.

    The random codes are a function of the image and of `seed`, so an image has one answer, in whatever batch
    it comes. Attackers pass gradients straight through (BPDA with the identity).

    Args:
      classifier: what is guarded; the generator does not know it.
      seed: initial weights, and the codes from which searches begin.
      **hyperparameters: fields of `DefenseGANConfig` in place of their defaults.
    """

    name = "defense_gan"
    summary = "The nearest image that a WGAN of clean images can make (Samangouei et al. 2018)"
    config_type = DefenseGANConfig
    # An image costs some 2,000 passes of the generator forward and back.
    batch_size = 25
    judged_images = 200
    white_box_images = 20
    checked_images = 2
    checked_steps = 10
    random_draws = 100

    def __init__(self, classifier: Any, seed: int = 0, **hyperparameters: Any) -> None:
        super().__init__(classifier, seed, **hyperparameters)
        shape, config = self.classifier.image_shape, self.config
        with seed_layers(seed):
            self.generator = LatentGenerator(shape, config.code_size, config.generator_filters)
            filters = tuple(config.generator_filters * factor for factor in (1, 2, 4))
            self.critic = Critic(filters)
            self.generator.build((None, config.code_size))
            self.critic.build((None, *shape))

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return bpda(self._nearest)(images)

    def _nearest(self, images: tf.Tensor) -> tf.Tensor:
        config = self.config
        count, shape = tf.shape(images)[0], [config.restarts, config.code_size]
        start = per_image_random.normal(
            per_image_random.image_keys(images, self.seed), shape, stream=0
        )
        codes = self.search(
            tf.repeat(images, config.restarts, axis=0), tf.reshape(start, [-1, config.code_size])
        )
        found = self.generator(codes)
        found = tf.reshape(found, [count, config.restarts, *images.shape[1:]])
        distances = tf.reduce_mean(tf.square(found - images[:, tf.newaxis]), axis=[2, 3, 4])
        return tf.gather(found, tf.argmin(distances, axis=1), batch_dims=1)

    def search(self, images: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        """Codes [N, Z] moved downhill on the squared error to images [N, H, W, C], each on its own."""
        config = self.config
        slow = tf.cast(0.8 * config.search_steps, tf.int32)

        def step(number: tf.Tensor, codes: tf.Tensor, velocity: tf.Tensor) -> tuple:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(codes)
                errors = mean_squared_error(images, self.generator(codes))
            rate = config.search_rate * tf.where(number < slow, 1.0, 0.1)
            velocity = config.search_momentum * velocity - rate * tape.gradient(errors, codes)
            return number + 1, codes + velocity, velocity

        return tf.while_loop(
            lambda number, *_: number < config.search_steps,
            step,
            (tf.constant(0), codes, tf.zeros_like(codes)),
        )[1]

    def networks(self) -> dict[str, keras.Layer]:
        return {"generator": self.generator}

    def prepare(self, steps: int) -> None:
        # Without momentum, and a faster critic in place of several critic steps: Heusel et al., "GANs Trained
        # by a Two Time-Scale Update Rule", NeurIPS 2017.
        betas = (0.0, 0.9)
        self.generator_optimizer = make_adam(self.generator, self.config, steps, betas)
        faster = dataclasses.replace(self.config, learning_rate=self.config.critic_learning_rate)
        self.critic_optimizer = make_adam(self.critic, faster, steps, betas)

    @classmethod
    def default_epochs(cls, train: Split) -> int:
        """As many as show about a million images."""
        return epochs_to_show(1_000_000, len(train), minimum=10, maximum=400)

    def train_step(self, batch: Mapping[str, tf.Tensor], replica: Replica) -> dict[str, tf.Tensor]:
        codes = replica.normal((self.config.code_size,))
        with tf.GradientTape() as generator_tape:
            generated = self.generator(codes, training=True)
        critic_scalars = update_critic(
            self.critic,
            self.critic_optimizer,
            batch["clean"],
            generated,
            self.config.penalty_weight,
            replica,
        )
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

    def watch(self, validation: Split) -> Callable[[], tuple[dict, dict]]:
        images = tf.constant(validation.images[:_GRID_IMAGES])
        keys = per_image_random.image_keys(images, self.seed)
        codes = per_image_random.normal(keys, [self.config.code_size], stream=1)
        nearest = tf.function(self._nearest)

        def see() -> tuple[dict, dict]:
            found = nearest(images)
            error = tf.reduce_mean(mean_squared_error(images, found))
            grids = {
                "clean_then_nearest": image_grid([images, found]),
                "generated": image_grid([self.generator(codes)]),
            }
            return {"loss_nearest": float(error)}, grids

        return see
