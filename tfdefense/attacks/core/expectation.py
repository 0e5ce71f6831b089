"""Randomised models, attacked in expectation over their random draws (EOT).

Athalye, Engstrom, Ilyas, Kwok, "Synthesizing Robust Adversarial Examples", ICML 2018 (expectation
over transformation).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfdefense.attacks.core.model import Model
from tfdefense.errors import require


class Expectation:
    """Mean of a randomised model over several draws.

    A gradient attack on it follows the mean gradient over the draws. The prediction is the class of
    the highest mean logit.

    Args:
      model: randomised model, with `tf.random` or a `tf.random.Generator` inside.
      draws: number of draws in a mean, at least 1; AutoAttack uses 20.

    Raises:
      UserError: `draws` is out of range.
    """

    def __init__(self, model: Model, draws: int = 20) -> None:
        require(draws >= 1, f"Expectation: draws {draws} given, at least 1 needed.")
        self.model = model
        self.draws = draws
        self.name = getattr(model, "name", type(model).__name__)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return the mean logits, float32 [N, K]."""
        return self.mean(lambda model: model(images))

    def mean(self, function: Callable[[Model], Any]) -> Any:
        """Return the mean of `function(model)` over the draws, a tensor or structure of tensors."""

        def add_draw(count: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
            return count + 1, tf.nest.map_structure(tf.add, total, function(self.model))

        _, total = tf.while_loop(
            lambda count, _: count < self.draws, add_draw, (1, function(self.model))
        )
        return tf.nest.map_structure(lambda tensor: tensor / self.draws, total)


def num_draws(model: Model) -> int:
    """Return the number of model calls behind one query: the draws of an `Expectation`, else 1."""
    return model.draws if isinstance(model, Expectation) else 1


def mean_over_draws(model: Model, function: Callable[[Model], Any]) -> Any:
    """Return `function(model)`, or its mean over the draws of an `Expectation`."""
    return model.mean(function) if isinstance(model, Expectation) else function(model)
