"""A pipeline in which the functions behind declared gradients replace the steps that declare them."""

import tensorflow as tf

from tfdefense.attacks.core.bpda import use_declared_functions
from tfdefense.attacks.core.model import Model


class SurrogatePipeline:
    """Differentiable approximation of a pipeline: what an attack through `bpda` follows.

    Each step that `bpda` gave a gradient returns the values of the function that has this gradient:
    for a purifier with the identity as gradient, the pipeline is then the classifier alone.

    Args:
      pipeline: images float32 [N, H, W, C] -> logits [N, K].
    """

    def __init__(self, pipeline: Model) -> None:
        self._pipeline = pipeline
        self.name = "surrogate"

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        with use_declared_functions():
            return self._pipeline(images)

    def differs(self, image_shape: tuple[int, ...]) -> bool:
        """Return whether the pipeline has a step whose gradient is declared by `bpda`."""

        def trace(images: tf.Tensor) -> tf.Tensor:
            return self._pipeline(images)

        with use_declared_functions() as used:
            function = tf.function(trace, autograph=False)
            function.get_concrete_function(tf.TensorSpec([None, *image_shape], tf.float32))
        return bool(used)
