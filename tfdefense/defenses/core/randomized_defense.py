"""Randomised defences: the pipeline with fixed and with fresh random numbers.

Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section
4.2: a randomised defence is attacked in expectation over its draws. If the attacker can predict the
random numbers, the defence is deterministic for this attacker.
"""

import abc
from typing import Any

import tensorflow as tf

from tfdefense.attacks.core import per_image_random
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.defenses.core.defense import Classifier, DefendedClassifier, Defense
from tfdefense.errors import require


class RandomizedDefense(Defense):
    """Defence that draws random numbers when it purifies.

    Each method that draws takes a `draw`:

    - None (the default): fixed randomness. The numbers are a function of the image and of `seed`.
      `defend` and the exported model use it, so equal images have equal logits.
    - An integer, or a tensor of integers [] or [N]: fresh randomness. Each draw has numbers of its
      own, a function of image, `seed` and draw. `defend_with_fresh_randomness` takes the next draw
      at every call.
    """

    is_randomized = True

    @abc.abstractmethod
    def purify(self, images: tf.Tensor, draw: int | tf.Tensor | None = None) -> tf.Tensor:
        """Return purified images; see `Defense.purify` for the images and the class for `draw`."""

    def purify_and_classify(
        self, classifier: Classifier, images: tf.Tensor, draw: int | tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return purified images and logits, as `Defense.purify_and_classify`, for one draw."""
        purified = self.purify(images, draw)
        return purified, classifier(purified)

    def defend_with_fresh_randomness(
        self, classifier: Any = None, *, stream: int = 0
    ) -> "RedrawingClassifier":
        """Return a pipeline that draws anew at every call, for `attacks.Expectation`.

        Args:
          classifier: classifier behind the purifier; None for the guarded one.
          stream: number of a sequence of draws. Pipelines of different streams draw independently.

        Raises:
          UserError: no part of this defence draws random numbers.
        """
        require(
            self.is_randomized,
            f"{self.name}: draws no random numbers, so it has no fresh ones. Use defend().",
        )
        return RedrawingClassifier(self, self.deciding_classifier(classifier), stream)


class RedrawingClassifier(DefendedClassifier):
    """Pipeline of a randomised defence: every call has the next draw, also in loops and graphs.

    Draw i of stream s is a function of (s, i): a new pipeline repeats the draws of an old one. On
    several replicas, each counts its own calls.

    Args:
      defense: trained defence.
      classifier: classifier behind it.
      stream: number of the sequence of draws.
    """

    def __init__(
        self, defense: RandomizedDefense, classifier: FrozenClassifier, stream: int = 0
    ) -> None:
        super().__init__(defense, classifier)
        self.name = f"{self.name}+fresh_randomness"
        self._stream = stream
        with tf.init_scope():
            self._calls = tf.Variable(
                tf.constant(0, tf.int64),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )

    def purify_and_classify(
        self, images: tf.Tensor, draw: int | tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if draw is None:
            draw = per_image_random.draw_in_stream(self._stream, self._calls.assign_add(1))
        return super().purify_and_classify(images, draw)

    def restart_draws(self) -> None:
        """Make the next call use the first draw again."""
        self._calls.assign(0)

    def identity(self) -> tuple[list[Any], dict[str, Any]]:
        settings, networks = super().identity()
        return [*settings, "fresh", self._stream], networks
