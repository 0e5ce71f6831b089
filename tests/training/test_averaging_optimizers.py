import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.pixel_thresholds import PixelThresholds
from tfdefense.training.averaging_optimizers import (
    AveragingAdam,
    AveragingSGD,
    use_averaged_weights,
)


@pytest.mark.parametrize("kind", [AveragingAdam, AveragingSGD])
def test_only_kernels_are_decayed(kind):
    """With gradients of zero, only the decay changes the weights."""
    layers = [keras.Input((4, 4, 1)), PixelThresholds(2), keras.layers.Conv2D(3, 3)]
    network = keras.Sequential([*layers, keras.layers.BatchNormalization()])
    variables = network.trainable_variables
    for variable in variables:
        variable.assign(tf.ones_like(variable))
    optimizer = kind(learning_rate=0.1, weight_decay=0.5)
    optimizer.build(variables)
    optimizer.apply([tf.zeros_like(variable) for variable in variables], variables)
    changed = {each.name for each in variables if np.any(np.array(each) != 1)}
    assert changed == {"kernel"}
    assert {each.name for each in variables} > {"thresholds", "slopes", "bias", "gamma", "beta"}


def test_averaged_weights_are_used_in_the_block_alone_also_after_an_error():
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    optimizer = AveragingAdam(average=0.9, learning_rate=1.0)
    optimizer.build(network.trainable_variables)
    network.set_weights([np.full((1, 1), 2.0, np.float32)])
    optimizer._model_variables_moving_average[0].assign([[3.0]])
    with contextlib.suppress(KeyError), use_averaged_weights(network, optimizer):
        assert network.get_weights()[0] == 3.0
        raise KeyError
    assert network.get_weights()[0] == 2.0
