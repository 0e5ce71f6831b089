"""Attacks, compiled for one model and image shape, with checks of their arguments."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.attack_result import AttackResult
from tfdefense.attacks.core.compile_cache import FunctionMaker, compile_on_model
from tfdefense.attacks.core.each_surrogate import surrogate_names
from tfdefense.attacks.core.expectation import restart_draws
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.radius import with_epsilon
from tfdefense.data.core.dataset import check_images, check_labels
from tfdefense.errors import require
from tfdefense.networks.surrogates import use_surrogates

if TYPE_CHECKING:
    from tfdefense.attacks.core.attack import Attack


class _CompiledSettings(NamedTuple):
    """Settings of a compiled attack; a change of them compiles it again.

    Attributes:
      attack: the attack, with epsilon 0 if it has a radius.
      surrogates: the surrogate gradients to try.
    """

    attack: "Attack"
    surrogates: tuple[str, ...]


def compile_craft(attack: "Attack", model: Model, images: Any) -> Callable[..., tf.Tensor]:
    """Return `(images, labels, targets) -> adversarial images`, compiled for the model.

    Raises:
      UserError: see `Attack.__call__`. The returned function raises those of its arguments.
    """
    return _compile(_craft_function, attack, model, images)


def compile_run(attack: "Attack", model: Model, images: Any) -> Callable[..., AttackResult]:
    """Return `(images, labels, targets) -> AttackResult`; errors as of `compile_craft`."""
    return _compile(_run_function, attack, model, images)


def _compile(
    make_function: FunctionMaker, attack: "Attack", model: Model, images: Any
) -> Callable[[Any, Any, Any], Any]:
    """Check the model and the images; return the compiled `(images, labels, targets) -> result`."""
    require(callable(model), f"model: {type(model).__name__} given, a callable needed.")
    check_images(np.asarray(images))
    shape = tuple(np.shape(images)[1:])
    surrogates = surrogate_names(attack, model, shape)
    settings = _CompiledSettings(with_epsilon(attack, 0.0), surrogates)
    compiled = compile_on_model(make_function, settings, model, shape)
    require(
        compiled.num_classes >= attack.min_classes,
        f"{attack.name}: a model of {compiled.num_classes} classes given, at least"
        f" {attack.min_classes} needed.",
    )

    def call(images: Any, labels: Any, targets: Any) -> Any:
        labels = np.asarray(labels)
        check_labels(labels, len(images), compiled.num_classes)
        if targets is not None:
            targets = np.asarray(targets)
            check_labels(targets, len(images), compiled.num_classes, "targets")
            same = int(np.sum(targets == labels))
            require(same == 0, f"targets: {same} of {len(labels)} equal their label.")
        epsilon, norm = getattr(attack, "epsilon", None), getattr(attack, "norm", "linf")
        radii = norms.broadcast_radius(
            0.0 if epsilon is None else epsilon, len(images), norm, attack.name
        )
        restart_draws(model)
        return compiled(radii, images, labels, targets)

    return call


def _craft_function(settings: _CompiledSettings, model: Model) -> Callable[..., tf.Tensor]:
    def craft(
        epsilon: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> tf.Tensor:
        attack = with_epsilon(settings.attack, epsilon)
        with use_surrogates(*settings.surrogates):
            return attack.craft_in_graph(model, images, labels, targets).images

    return craft


def _run_function(settings: _CompiledSettings, model: Model) -> Callable[..., AttackResult]:
    def run(
        epsilon: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor | None = None
    ) -> AttackResult:
        attack = with_epsilon(settings.attack, epsilon)
        with use_surrogates(*settings.surrogates):
            return attack.run_in_graph(model, images, labels, targets)

    return run
