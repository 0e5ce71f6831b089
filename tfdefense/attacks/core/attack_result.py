"""Results of attacks on one batch."""

from typing import NamedTuple

import tensorflow as tf


class AdversarialBatch(NamedTuple):
    """Adversarial images of one batch and their cost: the result of `Attack.craft`.

    Attributes:
      images: float32 [N, H, W, C] in [0, 1].
      queries: number of times that the logits of each image were computed, int32 [N] or one number.
      gradients: number of times that a gradient of each image was computed, int32 [N] or one
        number.
      no_gradient: bool [N] or one value; True if the first gradient was zero at every pixel.
      surrogate: index of the surrogate gradient that made a successful image, int32 [N] or one
        number; -1 if there is none. See `AttackResult.surrogate`.
    """

    images: tf.Tensor
    queries: tf.Tensor | int = 0
    gradients: tf.Tensor | int = 0
    no_gradient: tf.Tensor | bool = False
    surrogate: tf.Tensor | int = -1


class AttackResult(NamedTuple):
    """Success, norms and cost of an attack on each image. Every field but `images` has shape [N].

    Attributes:
      images: adversarial images, float32 [N, H, W, C] in [0, 1].
      success: bool; True if the image is now misclassified (untargeted), or classified as its
        target.
      targets: int32; target class, or -1 if any wrong class counts as success.
      l0: int32; number of pixels that changed in any channel.
      l2, linf: float32; norms of the perturbation of images in [0, 1].
      queries: int32; number of computed logits. Every draw of an `Expectation` counts.
      gradients: int32; number of computed gradients.
      no_gradient: bool; True if the first gradient was zero at every pixel. A gradient attack finds
        nothing there. With several surrogate gradients, or several attacks in turn, True if that
        holds for all of them.
      surrogate: int32; index of the surrogate gradient that made a successful image, into
        `surrogate_names(attack, model, image_shape)`. -1 if the attack failed, if it used no gradient, or
        if the model declares no choice of gradients.
    """

    images: tf.Tensor
    success: tf.Tensor
    targets: tf.Tensor
    l0: tf.Tensor
    l2: tf.Tensor
    linf: tf.Tensor
    queries: tf.Tensor
    gradients: tf.Tensor
    no_gradient: tf.Tensor
    surrogate: tf.Tensor | int = -1
