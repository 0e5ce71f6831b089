"""Averaged weights of a network, with statistics of batch normalization that belong to them.

The statistics in the model are those of its last weights. No average of them belongs to the averaged
weights, because they are not linear in the weights of the layers before. So they are computed again:
training images pass through the network in training mode, and its weights stay as they are (Izmailov,
Podoprikhin, Garipov, Vetrov, Wilson, "Averaging Weights Leads to Wider Optima and Better
Generalization", UAI 2018, section 3). This happens before each validation, so the network that is
judged is the network that is kept.
"""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tfdefense.data.core.dataset import Split
from tfdefense.training.averaging_optimizers import use_averaged_weights
from tfdefense.training.loop_config import LoopConfig
from tfdefense.training.nested_layers import collect_nested_layers

# 1,000 to 10,000 images are enough: Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021.
_STATISTICS_IMAGES = 5_000


class AveragedWeights:
    """The averaged weights that an optimizer has of the weights of a model.

    Args:
      model: built network.
      optimizer: its optimizer, built; without `use_ema`, there are no averaged weights.
      train: training images. Statistics are those of up to 5,000 of them, without augmentation,
        because the images to classify have none.
      loop: the training, with the seed that draws them and the size of their batches.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        train: Split,
        loop: LoopConfig,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._train = train
        count = len(train)
        self._batch_size = min(loop.batch_size, count)
        used = max(1, min(count, _STATISTICS_IMAGES) // self._batch_size) * self._batch_size
        self._drawn = np.random.default_rng(loop.seed).permutation(count)[:used]
        self._norms = [
            layer
            for layer in collect_nested_layers([model])
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self._forward: tf.types.experimental.ConcreteFunction | None = None

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Give the model its averaged weights in the block, and its last weights after it.

        Without averaged weights nothing changes.
        """
        with use_averaged_weights(self._model, self._optimizer):
            if self._optimizer.use_ema:
                self._recompute_statistics()
            yield

    def _recompute_statistics(self) -> None:
        """Set the moving mean and variance of each normalization to those of the drawn images."""
        if not self._norms:
            return
        batches = np.split(self._drawn, len(self._drawn) // self._batch_size)
        moments = [self._batch_moments(batch) for batch in batches]
        for index, layer in enumerate(self._norms):
            means, variances = np.swapaxes([each[index] for each in moments], 0, 1)
            mean = means.mean(axis=0)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign((variances + (means - mean) ** 2).mean(axis=0))

    def _batch_moments(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return mean and variance in each normalization for a batch, float64 [2, channels]."""
        self._forward = self._forward or self._compile_forward()
        self._forward(tf.constant(self._train.images[np.sort(indices)]))
        return [
            np.array([layer.moving_mean, layer.moving_variance], np.float64)
            for layer in self._norms
        ]

    def _compile_forward(self) -> tf.types.experimental.ConcreteFunction:
        """Compile the model in training mode, with moving statistics that are those of one batch."""
        shape = [self._batch_size, *self._train.image_shape]
        forward = tf.function(lambda images: self._model(images, training=True), autograph=False)
        momenta = [layer.momentum for layer in self._norms]
        try:
            for layer in self._norms:
                layer.momentum = 0.0
            return forward.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        finally:
            for layer, momentum in zip(self._norms, momenta, strict=True):
                layer.momentum = momentum
