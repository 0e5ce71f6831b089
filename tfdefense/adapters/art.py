"""A classifier, a defended pipeline, or a purifier alone, for the Adversarial Robustness Toolbox."""

from typing import Any

import numpy as np
import tensorflow as tf
from art.defences.preprocessor.preprocessor import Preprocessor
from art.estimators.classification import TensorFlowV2Classifier

from tfdefense.attacks.core.attack import Model
from tfdefense.defenses.core.defense import Defense


def art_classifier(
    model: Model, image_shape: tuple[int, int, int], num_classes: int, **given: Any
) -> TensorFlowV2Classifier:
    """`model` for ART's attacks; white box, with whatever gradient the defence declares.

    Args:
      model: images float32 [N, H, W, C] in [0, 1] -> logits, such as `defense.defend()`.
      image_shape: (H, W, C).
      num_classes: of the logits.
      **given: further arguments of `TensorFlowV2Classifier`, `preprocessing_defences` for instance.
    """

    def logits(images: tf.Tensor, training: bool = False) -> tf.Tensor:
        del training  # Ours are frozen.
        return model(images)

    return TensorFlowV2Classifier(
        model=tf.function(logits, reduce_retracing=True),
        nb_classes=num_classes,
        input_shape=image_shape,
        loss_object=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
        **given,
    )


class ArtPurifier(Preprocessor):
    """The purifier of a defence as a preprocessor that ART puts before any classifier of its own.

    Args:
      defense: whose `purify` it is; a trained one.
    """

    def __init__(self, defense: Defense) -> None:
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)
        self.defense = defense
        self._purify = tf.function(defense.purify, reduce_retracing=True)
        self._pull_back = tf.function(self._gradient, reduce_retracing=True)

    def __call__(
        self, x: np.ndarray, y: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Images [N, H, W, C] purified; labels as they are."""
        size = self.defense.batch_size
        parts = [x[start : start + size] for start in range(0, len(x), size)]
        purified = [self._purify(tf.constant(part, tf.float32)).numpy() for part in parts]
        return np.concatenate(purified).astype(x.dtype), y

    def estimate_gradient(self, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """`grad`, by the purified images, as a gradient by the images: the declared one where it is BPDA's."""
        images, upstream = (tf.constant(array, tf.float32) for array in (x, grad))
        return self._pull_back(images, upstream).numpy().astype(grad.dtype)

    def _gradient(self, images: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            purified = self.defense.purify(images)
        return tape.gradient(purified, images, output_gradients=upstream)
