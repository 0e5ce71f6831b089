"""Model that counts the images of its forward and backward passes."""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from tfdefense.attacks.core.expectation import num_draws
from tfdefense.attacks.core.float32_model import in_float32
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.weak_model_cache import WeakModelCache
from tfdefense.errors import require
from tfdefense.networks.surrogates import use_surrogates
from tfdefense.networks.upcast import cast_to_float32

_MAX_MODELS = 4


class CountedModel:
    """Compiled model `images -> logits` for code that is not part of a graph.

    It does not keep the model alive. Every draw of an `Expectation` counts.

    Args:
      model: the model.
      image_shape: (H, W, C).

    Attributes:
      image_shape: as given.
      num_classes: number of logits.

    Raises:
      UserError: the number of logits is unknown before the model runs.
    """

    def __init__(self, model: Model, image_shape: tuple[int, int, int]) -> None:
        self.image_shape = image_shape
        self._queries = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._gradients = tf.Variable(0, dtype=tf.int64, trainable=False)
        draws, gradients = num_draws(model), self._gradients  # `backward` must not hold `self`.

        @tf.custom_gradient
        def count_backward(logits: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
            def backward(upstream: tf.Tensor) -> tf.Tensor:
                count = draws * tf.shape(upstream, tf.int64)[0]
                # In the backward pass of a graph, nothing else makes the assignment run.
                with tf.control_dependencies([gradients.assign_add(count)]):
                    return tf.identity(upstream)

            return tf.identity(logits), backward

        def logits(images: tf.Tensor) -> tf.Tensor:
            self._queries.assign_add(draws * tf.shape(images, tf.int64)[0])
            with use_surrogates():  # The graph is kept, so it has the default gradient.
                of_model = cast_to_float32(in_float32(model)(images))
            with _gradients_released_with(self):
                return count_backward(of_model)

        signature = tf.TensorSpec([None, *image_shape], tf.float32)
        # The concrete function, unlike the `tf.function`, does not refer to the model.
        self._logits = tf.function(logits, autograph=False).get_concrete_function(signature)
        classes = self._logits.structured_outputs.shape[-1]
        require(
            classes is not None,
            "model: its number of classes is unknown. Give its logits a shape, for example with"
            " tf.ensure_shape(logits, [None, 10]).",
        )
        self.num_classes = int(classes)

    def __call__(self, images: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Return the logits float32 [N, K] of images [N, H, W, C]."""
        return self._logits(tf.cast(images, tf.float32))

    def reset(self) -> None:
        """Set both counts to 0."""
        self._queries.assign(0)
        self._gradients.assign(0)

    def counts(self) -> tuple[int, int]:
        """Return the numbers of images of forward and of backward passes."""
        return int(self._queries), int(self._gradients)


@contextlib.contextmanager
def _gradients_released_with(owner: object) -> Iterator[None]:
    """Forget the gradients that are declared in this context when `owner` ends.

    TensorFlow keeps the function of a `tf.custom_gradient` in a graph, and with it the graph and
    its weights, until the process ends.
    """
    registry = gradient_registry._registry
    known = set(registry)
    yield
    for name in set(registry) - known:
        weakref.finalize(owner, registry.pop, name, None)


_counted = WeakModelCache[CountedModel](_MAX_MODELS)


def counted_model(model: Model, image_shape: tuple[int, int, int]) -> CountedModel:
    """Return the `CountedModel` of a model, from the cache if it is there; its counts are 0."""
    key = (image_shape, tf.distribute.get_strategy())
    counted = _counted.get(model, key, lambda: CountedModel(model, image_shape))
    counted.reset()
    return counted
