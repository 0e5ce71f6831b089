"""Worst case of an attack over the surrogate gradients of a model, image by image.

Tramer, Carlini, Brendel, Madry, "On Adaptive Attacks to Adversarial Example Defenses", NeurIPS
2020: an attack through one approximate gradient can fail where another gradient finds an
adversarial example.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack_result import AdversarialBatch
from tfdefense.attacks.core.criteria import is_successful
from tfdefense.attacks.core.losses import margin
from tfdefense.attacks.core.masked_loop import masked_while_loop
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.weak_model_cache import WeakModelCache
from tfdefense.errors import unknown_name
from tfdefense.networks.surrogates import (
    DeclaredSurrogates,
    record_surrogates,
    requested_surrogates,
    use_surrogates,
)

if TYPE_CHECKING:
    from tfdefense.attacks.core.attack import Attack

_MAX_MODELS = 64
_NORMS = {"l0": norms.l0, "l2": norms.l2, "linf": norms.linf}

_found = WeakModelCache[tuple[str, ...]](_MAX_MODELS)


def find_surrogates(model: Model, image_shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the gradients that attacks on a model can choose; () without a choice.

    The first name stands for the default of every step ("a+b" if steps have different defaults).
    The others follow from the weakest to the smoothest; each changes the steps that declare it.

    The model is traced, not computed. Two kinds of steps do not count: those inside a `tf.function`
    of the model, which keeps the gradient of its first trace, and those that the model calls inside
    `use_surrogates`.

    Args:
      model: function from images float32 [N, H, W, C] to logits.
      image_shape: (H, W, C).
    """
    return _found.get(model, image_shape, lambda: _ordered_names(_trace_steps(model, image_shape)))


def surrogate_names(
    attack: "Attack", model: Model, image_shape: tuple[int, ...]
) -> tuple[str, ...]:
    """Return the surrogates that an attack tries in turn; `AttackResult.surrogate` counts them.

    They are those of `find_surrogates`, or those among them that `use_surrogates` requests; () if
    the attack runs once.

    Raises:
      UserError: the model has a choice of gradients, and none of the requested names is one of
        them.
    """
    if not attack.tries_surrogates:
        return ()
    found, requested = find_surrogates(model, image_shape), requested_surrogates()
    if not found or not requested:
        return found
    names = tuple(name for name in found if name in requested)
    if not names:
        raise unknown_name("surrogates", ",".join(requested), found)
    return names


class AttackedBatch(NamedTuple):
    """Images to attack; tensors of N rows.

    Attributes:
      images: clean images, float32 [N, H, W, C].
      labels: true classes, int32 [N].
      targets: target classes, int32 [N]; None means any wrong class.
      epsilon: radii, float32 [N, 1, 1, 1]; None means no radius, or one number.
    """

    images: tf.Tensor
    labels: tf.Tensor
    targets: tf.Tensor | None
    epsilon: tf.Tensor | None


class _BestSoFar(NamedTuple):
    """Best result of each image and the cost of all surrogates so far; tensors of N rows."""

    images: tf.Tensor
    score: tf.Tensor
    success: tf.Tensor
    queries: tf.Tensor
    gradients: tf.Tensor
    no_gradient: tf.Tensor
    surrogate: tf.Tensor


def craft_with_each_surrogate(
    craft: Callable[[AttackedBatch], AdversarialBatch],
    model: Model,
    batch: AttackedBatch,
    names: Sequence[str],
    minimized_norm: str | None,
) -> AdversarialBatch:
    """Run an attack with each surrogate gradient; return the worst case of each image.

    Of an attack within a radius, an image keeps its first success and costs nothing more. Of an
    attack that minimises a norm, it keeps its smallest success. An image without success keeps the
    result with the lowest margin.

    Args:
      craft: the attack.
      model: the attacked model.
      batch: the images.
      names: at least one surrogate, in order.
      minimized_norm: norm that the attack minimises; None for an attack within a radius.
    """

    def attempt(name: str, index: int) -> Callable[..., tuple[_BestSoFar, tf.Tensor]]:
        def step(
            number: tf.Tensor, best: _BestSoFar, batch: AttackedBatch
        ) -> tuple[_BestSoFar, tf.Tensor]:
            del number
            with use_surrogates(name):
                found = craft(batch)
            logits = model(found.images)
            success = is_successful(logits, batch.labels, batch.targets)
            score = _lead_over_label(logits, batch)
            if minimized_norm is not None:
                size = _NORMS[minimized_norm](found.images - batch.images)
                score = tf.where(success, -tf.cast(size, tf.float32), score)
            is_changed = norms.linf(found.images - batch.images) > 0  # Else it was fooled before.
            better = tf.where(success == best.success, score > best.score, success)
            best = _BestSoFar(
                images=tf.where(norms.expand_per_image(better), found.images, best.images),
                score=tf.where(better, score, best.score),
                success=success | best.success,
                queries=best.queries + found.queries + 1,
                gradients=best.gradients + found.gradients,
                no_gradient=best.no_gradient & found.no_gradient,
                surrogate=tf.where(better & success & is_changed, index, best.surrogate),
            )
            return best, ~best.success

        return step

    counts = tf.zeros_like(batch.labels)
    all_images = tf.ones_like(counts, tf.bool)
    best = _BestSoFar(
        images=batch.images,
        score=tf.fill(tf.shape(counts), tf.float32.min),
        success=~all_images,
        queries=counts,
        gradients=counts,
        no_gradient=all_images,
        surrogate=counts - 1,
    )
    for index, name in enumerate(names):
        active = ~best.success if minimized_norm is None else all_images
        best = masked_while_loop(attempt(name, index), best, active, 1, batch)
    return AdversarialBatch(
        best.images, best.queries, best.gradients, best.no_gradient, best.surrogate
    )


def _lead_over_label(logits: tf.Tensor, batch: AttackedBatch) -> tf.Tensor:
    """Return the margin of success, float32 [N]: above 0 for a successful image."""
    if batch.targets is None:
        return -margin(batch.labels, logits)
    return margin(batch.targets, logits)


def _trace_steps(model: Model, image_shape: tuple[int, ...]) -> list[DeclaredSurrogates]:
    """Return the steps that ask for their gradient in every trace of the model."""
    for _ in range(2):  # In the second trace, a `tf.function` inside the model asks for nothing.
        traced = tf.function(lambda images: model(images), autograph=False)
        with record_surrogates() as steps:
            traced.get_concrete_function(tf.TensorSpec([None, *image_shape], tf.float32))
        if not steps:
            break
    return steps


def _ordered_names(steps: Sequence[DeclaredSurrogates]) -> tuple[str, ...]:
    defaults = dict.fromkeys(step.default for step in steps)
    others = [name for step in steps for name in step.names if name != step.default]
    return tuple(dict.fromkeys(["+".join(defaults), *others])) if others else ()
