"""Adversarial images of which each is found by one of two attacks, drawn by chance."""

from collections.abc import Sequence

import tensorflow as tf

from tfdefense.attacks import Attack
from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.model import Model

# Random stream that no attack uses: otherwise the attack of an image and its start would depend on
# each other.
_ATTACK_CHOICE_STREAM = 2**31 - 1


def craft_by_drawn_attack(
    attacks: Sequence[Attack], model: Model, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Return adversarial images, to be traced into a training step, float32 [n, H, W, C].

    The draw depends on the image and the seed, so several replicas draw as one would.

    Args:
      attacks: the attacks; each image meets one of them.
      model: images -> logits [n, K].
      images: float32 [n, H, W, C] in [0, 1].
      labels: int32 [n].
      seed: seed of the draw, int64 [].
    """
    keys = per_image_random.image_keys(images, seed)
    choice = per_image_random.integers(keys, len(attacks), _ATTACK_CHOICE_STREAM)
    indices = tf.dynamic_partition(tf.range(tf.shape(images)[0]), choice, len(attacks))

    def attack_selected(attack: Attack, selected: tf.Tensor) -> tf.Tensor:
        clean, true_labels = tf.gather(images, selected), tf.gather(labels, selected)
        # A convolution of no images fails.
        return tf.cond(
            tf.size(selected) > 0,
            lambda: attack.craft_in_graph(model, clean, true_labels, None).images,
            lambda: clean,
        )

    adversarial = [
        attack_selected(attack, selected) for attack, selected in zip(attacks, indices, strict=True)
    ]
    return tf.ensure_shape(tf.dynamic_stitch(indices, adversarial), images.shape)
