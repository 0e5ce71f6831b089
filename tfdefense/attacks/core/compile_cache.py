"""Cache of batch functions that are compiled once for each model, image shape and strategy."""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core.expectation import Expectation
from tfdefense.attacks.core.float32_model import in_float32
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.weak_model_cache import WeakModelCache, weak_reference
from tfdefense.data.core.dataset import check_logits
from tfdefense.networks.upcast import cast_to_float32
from tfdefense.training.distribute.batching import split_over_replicas

# Compiled functions take memory, so only so many are kept.
_MAX_COMPILED = 64
_PROBED_IMAGES = 8

FunctionMaker = Callable[[Any, Model], Callable[..., Any]]
"""`make(settings, model)` returns `function(epsilon, images, labels, targets=None)`.

The function is traceable by `tf.function`.
"""


class CompiledFunction:
    """Batch function, compiled for one model and for images of one shape.

    The radius of an attack and the number of images are arguments of the compiled function. A curve
    over epsilon and a smaller last batch are therefore compiled once. The function is compiled for
    the `tf.distribute` strategy in whose scope it is called first.

    It does not keep the model alive: the compiled graph has only the values of its variables.

    Args:
      make_function: maker of the function to compile.
      settings: its first argument.
      model: its second argument.
      image_shape: (H, W, C).

    Attributes:
      num_classes: number of logits of the model.

    Raises:
      UserError: the model does not return finite logits [N, K].
    """

    def __init__(
        self,
        make_function: FunctionMaker,
        settings: Hashable,
        model: Model,
        image_shape: tuple[int, ...],
    ) -> None:
        self.num_classes, self._dtype = _probes.get(
            model, image_shape, lambda: _probe(model, image_shape)
        )
        self._make_function = make_function
        self._settings = settings
        self._model = weak_reference(model)
        self._image_shape = image_shape
        self._graphs: dict[bool, Callable[..., Any]] = {}

    def __call__(
        self,
        epsilon: tf.Tensor,
        images: np.ndarray | tf.Tensor,
        labels: np.ndarray,
        targets: np.ndarray | None = None,
    ) -> Any:
        """Run the compiled function on a batch.

        Args:
          epsilon: float32 [N, 1, 1, 1].
          images: floating point [N, H, W, C].
          labels: integer [N].
          targets: integer [N], or None.
        """
        tensors = [epsilon, tf.cast(images, tf.float32), tf.constant(labels, tf.int32)]
        if targets is not None:
            tensors.append(tf.constant(targets, tf.int32))
        return self._graph(targeted=targets is not None)(*tensors)

    def _graph(self, *, targeted: bool) -> Callable[..., Any]:
        if targeted not in self._graphs:
            classes = tf.TensorSpec([None], tf.int32)
            signature = [
                tf.TensorSpec([None, 1, 1, 1], tf.float32),
                tf.TensorSpec([None, *self._image_shape], tf.float32),
                *[classes] * (2 if targeted else 1),
            ]
            model = in_float32(self._model(), self._dtype)
            function = split_over_replicas(self._make_function(self._settings, model))
            # Without AutoGraph, so that exceptions during tracing keep their type and message.
            # The concrete function, unlike the `tf.function`, does not refer to the model.
            self._graphs[targeted] = tf.function(function, autograph=False).get_concrete_function(
                *signature
            )
        return self._graphs[targeted]


_compiled = WeakModelCache[CompiledFunction](_MAX_COMPILED)
_probes = WeakModelCache[tuple[int, str]](_MAX_COMPILED)
_logits = WeakModelCache[Callable[[np.ndarray | tf.Tensor], tf.Tensor]](_MAX_COMPILED)


def compile_on_model(
    make_function: FunctionMaker, settings: Hashable, model: Model, image_shape: tuple[int, ...]
) -> CompiledFunction:
    """Return the compiled function with these arguments, from the cache if it is there.

    It is compiled again in the scope of another `tf.distribute` strategy.
    """
    key = (make_function, settings, image_shape, tf.distribute.get_strategy())
    return _compiled.get(
        model, key, lambda: CompiledFunction(make_function, settings, model, image_shape)
    )


def compile_logits(
    model: Model, image_shape: tuple[int, ...]
) -> Callable[[np.ndarray | tf.Tensor], tf.Tensor]:
    """Return the compiled `images float32 [N, H, W, C] -> logits float32 [N, K]` of a model."""

    def make() -> Callable[[np.ndarray | tf.Tensor], tf.Tensor]:
        signature = tf.TensorSpec([None, *image_shape], tf.float32)
        computed = in_float32(model)
        concrete = tf.function(lambda images: cast_to_float32(computed(images)), autograph=False)
        compiled = concrete.get_concrete_function(signature)
        return lambda images: compiled(tf.constant(images))

    return _logits.get(model, (image_shape, tf.distribute.get_strategy()), make)


def count_compiled() -> int:
    """Return the number of compiled attacks in the cache."""
    return len(_compiled)


def clear_compile_cache() -> None:
    """Release all compiled functions."""
    _compiled.clear()
    _probes.clear()
    _logits.clear()


def _probe(model: Model, image_shape: tuple[int, ...]) -> tuple[int, str]:
    """Return the number and the dtype of the model's logits on random images, and check them."""
    images = tf.random.stateless_uniform([_PROBED_IMAGES, *image_shape], seed=[0, 0])
    probed = model.model if isinstance(model, Expectation) else model
    outputs = in_float32(probed)(images)
    logits = np.asarray(cast_to_float32(outputs))
    check_logits(logits, _PROBED_IMAGES)
    return int(logits.shape[1]), tf.as_dtype(outputs.dtype).name
