"""Training step of a WGAN-GP critic.

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, "Improved Training of Wasserstein GANs", NeurIPS
2017. The critic C minimises equation (3) for clean images x and generated images x~ = G(...):

    L = E[C(x~)] - E[C(x)] + penalty_weight * E[(||grad C(x^)||_2 - 1)^2]
    x^ = u x + (1 - u) x~,   u ~ U[0, 1] per image

The generator minimises -E[C(x~)] (`networks.losses.wasserstein_generator_loss`).
"""

import dataclasses

import keras
import tensorflow as tf

from tfdefense.networks.losses import gradient_penalty, wasserstein_critic_loss
from tfdefense.training.replica import Replica


@dataclasses.dataclass(frozen=True)
class CriticTrainer:
    """Critic with its optimizer.

    Attributes:
      critic: images float32 [n, H, W, C] -> scores [n]; no layer may mix images of a batch.
      optimizer: optimizer of the critic's variables.
      penalty_weight: weight of the gradient penalty.
    """

    critic: keras.Model
    optimizer: keras.optimizers.Optimizer
    penalty_weight: float

    def step(
        self, clean: tf.Tensor, generated: tf.Tensor, replica: Replica
    ) -> dict[str, tf.Tensor]:
        """Update the critic once and return its scalars.

        Args:
          clean: clean images float32 [n, H, W, C].
          generated: the generator's images, of the same shape; they get no gradient.
          replica: averages over the global batch and draws the points x^.
        """
        generated = tf.stop_gradient(generated)
        with tf.GradientTape() as tape:
            # The critic scores each image alone, so one pass serves both.
            scores = self.critic(tf.concat([clean, generated], axis=0))
            clean_scores, generated_scores = tf.split(scores, 2)
            wasserstein = replica.mean(wasserstein_critic_loss(clean_scores, generated_scores))
            penalty = replica.mean(
                gradient_penalty(self.critic, clean, generated, weights=replica.uniform())
            )
            loss = wasserstein + self.penalty_weight * penalty  # Equation (3).
        variables = self.critic.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply(gradients, variables)
        return {
            "loss_critic": loss,
            "wasserstein_estimate": -wasserstein,
            "gradient_penalty": penalty,
            "gradient_norm_critic": replica.gradient_norm(gradients),
        }
