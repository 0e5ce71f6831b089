"""Predictions of a classifier for all images of a split."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfdefense.data.core.dataset import Split
from tfdefense.training.distribute.batching import map_batches
from tfdefense.utils.batch_size import fitting_batch_size

# Images float32 [n, H, W, C] in [0, 1] -> logits float32 [n, K].
ComputeLogits = Callable[[tf.Tensor], tf.Tensor]


def compile_inference(model: keras.Model) -> ComputeLogits:
    """Compile `model` without dropout, as one function for batches of any size."""
    compiled: dict[tuple[int, ...], ComputeLogits] = {}

    def infer(images: tf.Tensor) -> tf.Tensor:
        shape = tuple(images.shape[1:])
        if shape not in compiled:
            # TensorFlow warns of retracing if several models are called through one `tf.function` code,
            # and does not count concrete functions.
            function = tf.function(lambda images: model(images, training=False), autograph=False)
            compiled[shape] = function.get_concrete_function(
                tf.TensorSpec([None, *shape], images.dtype)
            )
        return compiled[shape](images)

    return infer


def predict_logits(
    classifier: ComputeLogits, split: Split, title: str | None = None, *, batch_size: int = 500
) -> np.ndarray:
    """Return the logits of all images of `split`, float32 [N, K].

    Args:
      classifier: the classifier.
      split: the images.
      title: title of a progress bar; None shows none.
      batch_size: largest number of images in a batch; large images have smaller batches.
    """
    batch_size = fitting_batch_size(split.image_shape, batch_size)
    return map_batches(
        lambda part: classifier(tf.constant(split.images[part])), len(split), batch_size, title
    )


def find_correct(classifier: ComputeLogits, split: Split, title: str | None = None) -> np.ndarray:
    """Return for each image of `split` whether its class is predicted correctly, bool [N].

    Args:
      classifier, split, title: see `predict_logits`.
    """
    return np.argmax(predict_logits(classifier, split, title), axis=-1) == split.labels


def measure_split(classifier: ComputeLogits, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return `find_correct`, and the cross-entropy of each image, float32 [N]."""
    logits = predict_logits(classifier, split)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(split.labels, logits)
    return np.argmax(logits, axis=-1) == split.labels, losses.numpy()
