"""Batch normalisation that knows how many replicas there are."""

import keras
import tensorflow as tf


def batch_normalization(momentum: float = 0.99) -> keras.layers.BatchNormalization:
    """Normalises over the global batch, so that several replicas do as one does.

    One replica has nobody to wait for, and then Keras uses its faster kernel. Make it in the scope of
    the `tf.distribute` strategy that it will run under.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return keras.layers.BatchNormalization(momentum=momentum, synchronized=replicas > 1)
