"""Losses as small functions: batch in, one number per example out.

The training step takes the mean over the global batch (`Replica.mean`), so none is taken here.
"""

from collections.abc import Callable

import tensorflow as tf

Network = Callable[[tf.Tensor], tf.Tensor]


def wasserstein_critic(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """C(x~) - C(x), float32 [N]: minus the critic's estimate of the Wasserstein distance.

    Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, equation (3), first
    two terms.
    """
    return fake_scores - real_scores


def wasserstein_generator(fake_scores: tf.Tensor) -> tf.Tensor:
    """-C(x~), float32 [N]."""
    return -fake_scores


def gradient_penalty(
    critic: Network, real: tf.Tensor, fake: tf.Tensor, weights: tf.Tensor
) -> tf.Tensor:
    """(||grad_x^ C(x^)|| - 1)^2 at x^ = weights x + (1 - weights) x~, float32 [N].

    Gulrajani et al., equation (3), last term, without its factor. The norm is per example, over
    all pixels and channels, so the critic must not mix examples (no batch normalisation).

    Args:
      critic: images -> scores [N].
      real, fake: float32 [N, H, W, C].
      weights: float32 [N], uniform in [0, 1].
    """
    weights = weights[:, tf.newaxis, tf.newaxis, tf.newaxis]
    between = weights * real + (1.0 - weights) * fake
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(between)
        scores = critic(between)
    gradient = tape.gradient(scores, between)
    # Inside the root, because its derivative at zero is infinite.
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]) + 1e-12)
    return tf.square(norm - 1.0)


def gan_discriminator(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """-log D(x) - log(1 - D(x~)), float32 [N], from logits [N] or, of patches, [N, h, w, 1].

    Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, equation (1); over patches the mean.
    """
    return _per_example(tf.nn.softplus(-real_logits)) + _per_example(tf.nn.softplus(fake_logits))


def gan_generator(fake_logits: tf.Tensor) -> tf.Tensor:
    """-log D(x~), float32 [N]: the form that keeps a gradient where the discriminator is sure."""
    return _per_example(tf.nn.softplus(-fake_logits))


def mean_absolute_error(clean: tf.Tensor, purified: tf.Tensor) -> tf.Tensor:
    """Mean over pixels and channels of |x - x~|, float32 [N]. Conditional GAN paper, equation (8)."""
    return _per_example(tf.abs(clean - purified))


def mean_squared_error(clean: tf.Tensor, purified: tf.Tensor) -> tf.Tensor:
    """Mean over pixels and channels of (x - x~)^2, float32 [N]. APE-GAN++ equation (2)."""
    return tf.reduce_mean(tf.square(clean - purified), axis=[1, 2, 3])


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """-log softmax(logits)[label], float32 [N]. APE-GAN++ equation (3)."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _per_example(values: tf.Tensor) -> tf.Tensor:
    """Mean over all but the first axis: [N]."""
    return tf.reduce_mean(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1)
