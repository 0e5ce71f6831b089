"""Cache of batch functions that are compiled once for each model and image shape."""

import functools
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core.expectation import Expectation
from tfdefense.attacks.core.model import Model
from tfdefense.data.core.dataset import check_logits
from tfdefense.training.distribute.batching import split_over_replicas

# The cache keeps so many compiled functions, and their models, alive.
_MAX_COMPILED = 64
_PROBED_IMAGES = 8

FunctionMaker = Callable[[Any, Model], Callable[..., Any]]
"""`make(settings, model)` returns `function(epsilon, images, labels, targets=None)`.

The function is traceable by `tf.function`.
"""


class CompiledFunction:
    """Batch function, compiled for one model and for images of one shape.

    The radius of an attack is an argument of the compiled function. A curve over epsilon is
    therefore compiled once.

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
        self.num_classes = _count_classes(model, image_shape)
        self._function = make_function(settings, model)
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
            # Without AutoGraph, so that exceptions during tracing keep their type and message.
            function = tf.function(split_over_replicas(self._function), autograph=False)
            self._graphs[targeted] = function.get_concrete_function(*signature)
        return self._graphs[targeted]


@functools.lru_cache(maxsize=_MAX_COMPILED)
def compile_on_model(
    make_function: FunctionMaker, settings: Hashable, model: Model, image_shape: tuple[int, ...]
) -> CompiledFunction:
    """Return the compiled function with these arguments, from the cache if it is there."""
    return CompiledFunction(make_function, settings, model, image_shape)


def clear_compile_cache() -> None:
    """Release all compiled functions and the models that they keep alive."""
    compile_on_model.cache_clear()


def _count_classes(model: Model, image_shape: tuple[int, ...]) -> int:
    """Return the number of logits of the model, and check them, on a few random images."""
    images = tf.random.stateless_uniform([_PROBED_IMAGES, *image_shape], seed=[0, 0])
    probed = model.model if isinstance(model, Expectation) else model
    logits = np.asarray(probed(images))
    check_logits(logits, _PROBED_IMAGES)
    return int(logits.shape[1])
