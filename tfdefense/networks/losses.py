"""Losses: functions from a batch to one number per example.

No mean over the batch is taken here: a training step uses `Replica.mean`. Equation numbers refer to

- APE-GAN++: Yang, Chen and Cao, "APE-GAN++: An Improved APE-GAN to Eliminate Adversarial
  Perturbations", 2021. Equation (1) is the total loss, L_WGAN-GP + lambda1 L_MSE + lambda2 L_CLC.
- CGAN: "The Defense of Adversarial Example with Conditional Generative Adversarial Networks", 2020.
  Equation (11) is the total loss, L_cGAN + lambda L_L1 + mu L_adv.
- WGAN-GP: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017. Equation (3) is
  the critic's loss.

x is a real (clean) image and x~ a fake (purified or generated) one.
"""

import math
from collections.abc import Callable

import tensorflow as tf

Network = Callable[[tf.Tensor], tf.Tensor]


def wasserstein_critic_loss(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """Return C(x~) - C(x), float32 [N]: the critic's part of L_WGAN-GP, APE-GAN++ equation (1).

    WGAN-GP equation (3), first two terms: minus the critic's estimate of the Wasserstein distance.

    Args:
      real_scores: C(x), [N].
      fake_scores: C(x~), [N].
    """
    return fake_scores - real_scores


def wasserstein_generator_loss(fake_scores: tf.Tensor) -> tf.Tensor:
    """Return -C(x~), float32 [N]: the generator's part of L_WGAN-GP, APE-GAN++ equation (1).

    WGAN-GP algorithm 1, line 12.

    Args:
      fake_scores: C(x~), [N].
    """
    return -fake_scores


def gradient_penalty(
    critic: Network, real: tf.Tensor, fake: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """Return (||grad C(x^)||_2 - 1)^2 at x^ = weights x + (1 - weights) x~, float32 [N].

    WGAN-GP equation (3), last term, without its factor lambda. It is the gradient penalty in
    L_WGAN-GP, APE-GAN++ equation (1). The norm is per example, over all pixels and channels, so
    the critic must not mix examples (no batch normalisation).

    Args:
      critic: C, from images [N, H, W, C] to scores [N].
      real: x, float32 [N, H, W, C].
      fake: x~, float32 [N, H, W, C].
      weights: float32 [N], uniform in [0, 1].
    """
    weights = weights[:, tf.newaxis, tf.newaxis, tf.newaxis]
    between = weights * real + (1.0 - weights) * fake
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(between)
        scores = critic(between)
    gradient = tape.gradient(scores, between)
    # The constant is inside the root, because the derivative of the root is infinite at zero.
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]) + 1e-12)
    return tf.square(norm - 1.0)


def gan_discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Return -log D(x) - log(1 - D(x~)), float32 [N]: minus L_cGAN, CGAN equation (7).

    The same form without a condition is Goodfellow et al., "Generative Adversarial Nets", NeurIPS
    2014, equation (1). With logits per patch, the mean over the patches is taken.

    Args:
      real_logits: of D(x), [N] or [N, h, w, 1].
      fake_logits: of D(x~), [N] or [N, h, w, 1].
    """
    return _mean_per_example(tf.nn.softplus(-real_logits)) + _mean_per_example(
        tf.nn.softplus(fake_logits)
    )


def gan_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Return -log D(x~), float32 [N]: the generator's part of L_cGAN, CGAN equation (7).

    Equation (7) has log(1 - D(x~)), whose gradient vanishes where the discriminator is certain.
    This is the usual replacement (Goodfellow et al. 2014, section 3).

    Args:
      fake_logits: of D(x~), [N] or [N, h, w, 1].
    """
    return _mean_per_example(tf.nn.softplus(-fake_logits))


def mean_absolute_error(clean: tf.Tensor, purified: tf.Tensor) -> tf.Tensor:
    """Return the mean over pixels and channels of |x - x~|, float32 [N]: L_L1.

    CGAN equation (8).

    Args:
      clean: x, float32 [N, H, W, C].
      purified: x~, float32 [N, H, W, C].
    """
    return _mean_per_example(tf.abs(clean - purified))


def mean_squared_error(clean: tf.Tensor, purified: tf.Tensor) -> tf.Tensor:
    """Return the mean over pixels and channels of (x - x~)^2, float32 [N]: L_MSE.

    APE-GAN++ equation (2).

    Args:
      clean: x, float32 [N, H, W, C].
      purified: x~, float32 [N, H, W, C].
    """
    return tf.reduce_mean(tf.square(clean - purified), axis=[1, 2, 3])


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return -log softmax(logits)[label], float32 [N]: L_CLC and L_adv.

    APE-GAN++ equation (3), CGAN equation (10).

    Args:
      labels: the true classes, int [N]. A class that does not exist has the loss NaN.
      logits: the output of the classifier, float [N, K].
    """
    return -select_logits(tf.nn.log_softmax(tf.cast(logits, tf.float32)), labels)


def select_logits(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Return the logit of one class of each image, float [N].

    Not by `tf.gather`: its gradient has 60 operations and is slow to trace. TensorFlow's own
    cross-entropy uses it where operations are deterministic.

    Args:
      logits: float [N, K]; -inf is allowed.
      classes: int [N]. A class that does not exist has the logit NaN.

    Raises:
      ValueError: `classes` is not a vector.
    """
    classes = tf.convert_to_tensor(classes)
    classes.shape.assert_has_rank(1)  # [N, 1] would be broadcast.
    is_class = class_mask(logits, classes)
    # The other logits count as 0, or as NaN if the class does not exist.
    other = tf.where(tf.reduce_any(is_class, axis=1, keepdims=True), 0.0, math.nan)
    others = tf.broadcast_to(tf.cast(other, logits.dtype), tf.shape(logits))
    return tf.reduce_sum(tf.where(is_class, logits, others), axis=1)


def class_mask(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Return which logit of each image is that of its class, bool [N, K].

    Args:
      logits: float [N, K].
      classes: int [N]. A class that does not exist has no logit.
    """
    depth = logits.shape[1] or tf.shape(logits)[1]
    return tf.one_hot(classes, depth, on_value=True, off_value=False)


def _mean_per_example(values: tf.Tensor) -> tf.Tensor:
    """Return the mean over all axes except the first, [N]."""
    return tf.reduce_mean(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1)
