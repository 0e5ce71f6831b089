"""Randomised models, attacked in expectation over their random draws (EOT).

Athalye, Engstrom, Ilyas, Kwok, "Synthesizing Robust Adversarial Examples", ICML 2018 (expectation
over transformation). Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of
Security", ICML 2018, section 4.2, attack randomised defences with it.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import tensorflow as tf

from tfdefense.attacks.core.model import Model
from tfdefense.classifiers.core.fingerprint import Identifiable
from tfdefense.errors import require


class Expectation:
    """Mean of a randomised model over several draws.

    A gradient attack on it follows the mean gradient over the draws. The prediction is the class of
    the highest mean logit.

    Args:
      model: randomised model that draws anew at every call, such as
        `defense.defend_with_fresh_randomness()`, or one with a `tf.random.Generator` inside.
      draws: number of draws in a mean, at least 1; AutoAttack uses 20.

    Raises:
      UserError: `draws` is out of range.
    """

    def __init__(self, model: Model, draws: int = 20) -> None:
        require(
            isinstance(draws, int) and draws >= 1,
            f"Expectation: draws {draws} given, a whole number of at least 1 needed.",
        )
        self.model = model
        self.draws = draws
        self.name = getattr(model, "name", type(model).__name__)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return the mean logits, float32 [N, K]."""
        return self.mean(lambda model: model(images))

    def restart_draws(self) -> None:
        """Start the draws of the model from the first one again: see `restart_draws`."""
        restart_draws(self.model)

    def identity(self) -> tuple[list[Any], Mapping[str, Any]]:
        """Return the identity of the model, and the number of draws: see `Identifiable`."""
        settings, networks = cast(Identifiable, self.model).identity()
        return [*settings, "expectation", self.draws], networks

    def code(self) -> tuple[type, ...]:
        """Return the classes of the model: see `Identifiable`."""
        return cast(Identifiable, self.model).code()

    def mean(self, function: Callable[[Model], Any]) -> Any:
        """Return the mean of `function(model)` over the draws, a tensor or structure of tensors."""

        def add_draw(count: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
            return count + 1, tf.nest.map_structure(tf.add, total, function(self.model))

        # One iteration at a time, so that a model that counts its draws counts them in order.
        _, total = tf.while_loop(
            lambda count, _: count < self.draws,
            add_draw,
            (1, function(self.model)),
            parallel_iterations=1,
        )
        return tf.nest.map_structure(lambda tensor: tensor / self.draws, total)


def num_draws(model: Model) -> int:
    """Return the number of model calls behind one query: the draws of an `Expectation`, else 1."""
    return model.draws if isinstance(model, Expectation) else 1


def mean_over_draws(model: Model, function: Callable[[Model], Any]) -> Any:
    """Return `function(model)`, or its mean over the draws of an `Expectation`."""
    return model.mean(function) if isinstance(model, Expectation) else function(model)


def restart_draws(model: Model) -> None:
    """Start the draws of a model from the first one again, if it counts them.

    A compiled attack does this before each batch. The adversarial images of a batch therefore do
    not depend on the batches before it, and a second attack on it returns the same images.
    """
    restart = getattr(model, "restart_draws", None)
    if restart is not None:
        restart()
