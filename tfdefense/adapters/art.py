"""Adapters to the Adversarial Robustness Toolbox (ART): classifiers, pipelines, purifiers."""

from typing import Any

import numpy as np
import tensorflow as tf
from art.defences.preprocessor.preprocessor import Preprocessor
from art.estimators.classification import TensorFlowV2Classifier

from tfdefense.attacks.core.model import Model
from tfdefense.defenses.core.defense import Defense


def art_classifier(
    model: Model, image_shape: tuple[int, int, int], num_classes: int, **options: Any
) -> TensorFlowV2Classifier:
    """Return `model` for the white-box attacks of ART.

    The attacks use the gradient that the defence declares.

    Args:
      model: function from images float32 [N, H, W, C] in [0, 1] to logits, such as
        `defense.defend()`.
      image_shape: (H, W, C).
      num_classes: number of logits.
      **options: further arguments of `TensorFlowV2Classifier`, for example
        `preprocessing_defences`.
    """

    def logits(images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        del training  # The models of tfdefense are frozen.
        return model(images)

    return TensorFlowV2Classifier(
        model=tf.function(logits, reduce_retracing=True),
        nb_classes=num_classes,
        input_shape=image_shape,
        loss_object=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
        **options,
    )


class ArtPurifier(Preprocessor):
    """Purifier of a defence as a preprocessor that ART puts in front of an ART classifier.

    Args:
      defense: a trained defence.
    """

    def __init__(self, defense: Defense) -> None:
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)
        self.defense = defense
        self._purify = tf.function(defense.purify, autograph=False, reduce_retracing=True)
        self._compiled_gradient = tf.function(
            self._gradient, autograph=False, reduce_retracing=True
        )

    def __call__(
        self, x: np.ndarray, y: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the purified images [N, H, W, C] and the unchanged labels."""
        size = self.defense.batch_size
        parts = [x[start : start + size] for start in range(0, len(x), size)]
        purified = [self._purify(tf.constant(part, tf.float32)).numpy() for part in parts]
        return np.concatenate(purified).astype(x.dtype), y

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Return the gradient by the images for `grad`, the gradient by the purified images.

        It is the declared gradient if the defence uses BPDA.
        """
        images, upstream = (tf.constant(array, tf.float32) for array in (x, grad))
        return self._compiled_gradient(images, upstream).numpy().astype(grad.dtype)

    def _gradient(self, images: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            purified = self.defense.purify(images)
        return tape.gradient(purified, images, output_gradients=upstream)
