"""An attack on a model, compiled once for all batches, with its arguments checked."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.expectation import Expectation
from tfdefense.data.core.dataset import check_images, check_labels, check_logits
from tfdefense.errors import require
from tfdefense.training.distribute.batching import split_over_replicas

if TYPE_CHECKING:
    from tfdefense.attacks.core.attack import Attack, Model

# So many attacks on models are kept compiled, and so many models alive by it.
_KEPT = 64
_PROBED_IMAGES = 8


class CompiledAttack:
    """`attack(model, images, labels, targets)` for images of one shape.

    The radius of an attack is an argument of the compiled function, so a curve over epsilon is
    compiled once.
    """

    @classmethod
    def of(
        cls, attack: "Attack", model: "Model", images: Any, whole: bool = False
    ) -> "CompiledAttack":
        """For these images, from the cache if it is there; `whole`: with norms and cost."""
        require(callable(model), f"model: {type(model).__name__} given, a callable needed.")
        check_images(np.asarray(images))
        shape = tuple(np.shape(images)[1:])
        epsilon = getattr(attack, "epsilon", None)
        if epsilon is None:
            return functools.partial(_compile(attack, model, shape, whole), epsilon=0.0)
        without = dataclasses.replace(attack, epsilon=0.0)
        return functools.partial(_compile(without, model, shape, whole), epsilon=epsilon)

    def __init__(self, attack: "Attack", model: "Model", shape: tuple, whole: bool) -> None:
        self.attack = attack
        self.model = model
        self.shape = shape
        self.whole = whole
        self.num_classes = _check_logits(model, shape, attack)
        self._functions: dict[bool, Any] = {}

    def __call__(self, images: Any, labels: Any, targets: Any, epsilon: Any) -> Any:
        """The attack's result for one batch."""
        labels = np.asarray(labels)
        check_labels(labels, len(images), self.num_classes)
        if targets is not None:
            targets = np.asarray(targets)
            check_labels(targets, len(images), self.num_classes, "targets")
            same = int(np.sum(targets == labels))
            require(same == 0, f"targets: {same} of {len(labels)} equal their label.")
        epsilon = _radii(self.attack, epsilon, len(images))
        arguments = [tf.cast(images, tf.float32), tf.constant(labels, tf.int32)]
        if targets is not None:
            arguments.append(tf.constant(targets, tf.int32))
        return self._function(targets is not None)(epsilon, *arguments)

    def _function(self, targeted: bool) -> Any:
        if targeted not in self._functions:
            attack, model, whole = self.attack, self.model, self.whole

            def call(
                epsilon: tf.Tensor,
                images: tf.Tensor,
                labels: tf.Tensor,
                targets: tf.Tensor | None = None,
            ) -> Any:
                bounded = getattr(attack, "epsilon", None) is not None
                chosen = dataclasses.replace(attack, epsilon=epsilon) if bounded else attack
                if whole:
                    return chosen.traced_run(model, images, labels, targets)
                return chosen.traced_craft(model, images, labels, targets).images

            classes = tf.TensorSpec([None], tf.int32)
            signature = [
                tf.TensorSpec([None, 1, 1, 1], tf.float32),
                tf.TensorSpec([None, *self.shape], tf.float32),
                *[classes] * (2 if targeted else 1),
            ]
            # Without AutoGraph, so that what is raised while tracing arrives as it was raised.
            function = tf.function(split_over_replicas(call), autograph=False)
            self._functions[targeted] = function.get_concrete_function(*signature)
        return self._functions[targeted]


@functools.lru_cache(maxsize=_KEPT)
def _compile(attack: "Attack", model: "Model", shape: tuple, whole: bool) -> CompiledAttack:
    return CompiledAttack(attack, model, shape, whole)


def clear_compile_cache() -> None:
    """Lets go of all attacks kept compiled, and of the models that they keep alive."""
    _compile.cache_clear()


def _radii(attack: "Attack", epsilon: Any, count: int) -> tf.Tensor:
    """Epsilon of each image, float32 [N, 1, 1, 1]."""
    radii = tf.reshape(tf.cast(epsilon, tf.float32), [-1, 1, 1, 1])
    require(
        len(radii) in (1, count),
        f"{attack.name}: epsilon for {len(radii)} images given, {count} images given.",
    )
    if tf.is_tensor(epsilon):  # A number was checked by the attack itself.
        for extreme in (tf.reduce_min(radii), tf.reduce_max(radii)):
            norms.check_radius(float(extreme), attack.norm, attack.name)
    return tf.broadcast_to(radii, [count, 1, 1, 1])


def _check_logits(model: "Model", shape: tuple, attack: "Attack") -> int:
    """The number of classes, after a look at the model's answer to a few random images."""
    images = tf.random.stateless_uniform([_PROBED_IMAGES, *shape], seed=[0, 0])
    asked = model.model if isinstance(model, Expectation) else model
    logits = np.asarray(asked(images))
    check_logits(logits, _PROBED_IMAGES)
    require(
        logits.shape[1] >= attack.least_classes,
        f"{attack.name}: a model of {logits.shape[1]} classes given, at least"
        f" {attack.least_classes} needed.",
    )
    return logits.shape[1]
