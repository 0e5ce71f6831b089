"""Purifiers with a known flaw, and one without.

Each is a function from images to images, except for `confident`, which scales the logits.
"""

import dataclasses

import tensorflow as tf

from tfdefense.attacks import bpda
from tfdefense.attacks.core import per_image_random
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget

DRAWS = 200


@dataclasses.dataclass(frozen=True)
class NoHyperparameters:
    pass


class PlantedDefense(Defense):
    """A defence whose purifier is a given function; `logit_scale` of it scales the logits."""

    name, config_type = "planted", NoHyperparameters
    budget = EvaluationBudget(random_perturbations=DRAWS, fixed_checks=True)

    def __init__(self, classifier, function):
        super().__init__(classifier)
        self.purify = function
        self.logit_scale = getattr(function, "logit_scale", 1.0)

    def purify(self, images):
        raise NotImplementedError

    def purify_and_classify(self, classifier, images):
        purified = self.purify(images)
        return purified, self.logit_scale * classifier(purified)


def identity(images):
    """A purifier without a flaw."""
    return tf.identity(images)


def round_without_gradient(images):
    """A purifier that masks gradients: they exist, but they are zero."""
    return tf.round(3 * images) / 3 + 0 * images


@tf.custom_gradient
def reverse_gradient(images):
    """A purifier whose gradient has the wrong sign."""
    return tf.identity(images), lambda upstream: -upstream


def subtract_batch_mean(images):
    """A purifier that depends on the other images of the batch."""
    return images - tf.reduce_mean(images, axis=0, keepdims=True)


def draw_noise(images):
    """A purifier that adds new noise at every call."""
    return images + tf.random.normal(tf.shape(images), stddev=0.05)


def shatter(images):
    """A purifier with a wave that is far shorter than a step of an attack."""
    return images + 0.3 * tf.sin(3_000 * images)


@tf.custom_gradient
def thin_out_gradient(images):
    """A purifier that lets the gradient of one pixel in five through, others at each point."""
    keys = per_image_random.image_keys(images, seed=9)
    kept = per_image_random.uniform(keys, list(images.shape[1:]), stream=0) < 0.2
    return tf.identity(images), lambda upstream: tf.where(kept, upstream, 0.0)


def amplify_small_differences(images):
    """A purifier that enlarges what lies between two of the 256 values of an image file."""
    stored = tf.round(255 * images) / 255
    return stored + 200 * (images - stored)


def confident(images):
    """A pipeline so confident that the gradient of cross-entropy is exactly zero."""
    return tf.identity(images)


confident.logit_scale = 1e5


def declare_identity(images):
    """A purifier that rounds to two levels and declares the identity as its gradient."""
    return bpda(tf.round)(images)


def smooth_in_a_loop(images):
    """A purifier that minimises the variation of the image in a loop and declares the identity."""

    def smooth(images):
        def step(number, images):
            return number + 1, 0.9 * images + 0.1 * tf.roll(images, 1, axis=1)

        return tf.while_loop(lambda number, _: number < 3, step, (0, images))[1]

    return bpda(smooth)(images)
