"""A randomised model, attacked in expectation over its draws (EOT)."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfdefense.errors import require


class Expectation:
    """`model`, whose answer to the same images changes, as its mean over `draws` answers.

    Gradient attacks on it follow the mean over the draws of the loss and of its gradient, and take
    the mean logits for its prediction. Athalye, Engstrom, Ilyas, Kwok, "Synthesizing Robust
    Adversarial Examples", ICML 2018 (expectation over transformation).

    Args:
      model: images -> logits, randomised with `tf.random` or a `tf.random.Generator`.
      draws: answers that a mean is taken of, at least 1; AutoAttack's is 20.

    Raises:
      UserError: `draws` out of range.
    """

    def __init__(self, model: Callable[[tf.Tensor], tf.Tensor], draws: int = 20) -> None:
        require(draws >= 1, f"Expectation: draws {draws} given, at least 1 needed.")
        self.model = model
        self.draws = draws
        self.name = getattr(model, "name", type(model).__name__)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Mean logits float32 [N, K]."""
        return self.mean(lambda model: model(images))

    def mean(self, function: Callable[[Callable], Any]) -> Any:
        """The mean over draws of `function(model)`, a tensor or a structure of tensors."""

        def add(count: tf.Tensor, total: Any) -> tuple:
            return count + 1, tf.nest.map_structure(tf.add, total, function(self.model))

        _, total = tf.while_loop(
            lambda count, _: count < self.draws, add, (1, function(self.model))
        )
        return tf.nest.map_structure(lambda tensor: tensor / self.draws, total)


def draws_of(model: Callable) -> int:
    """How many answers of a model one query of an attack costs."""
    return model.draws if isinstance(model, Expectation) else 1


def over_draws(model: Callable, function: Callable[[Callable], Any]) -> Any:
    """`function(model)`; for an `Expectation` its mean over draws."""
    return model.mean(function) if isinstance(model, Expectation) else function(model)
