"""Dropout that several replicas do as one would."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfdefense")
class Dropout(keras.layers.Dropout):
    """Keras' layer, with masks drawn for the global batch, of which each replica takes its rows."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync if context else 1
        replica = context.replica_id_in_sync_group if context else 0
        shape = tf.shape(inputs)
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        drawn = tf.random.stateless_uniform(
            tf.concat([shape[:1] * replicas, shape[1:]], axis=0), seed
        )
        kept = drawn[replica * shape[0] : (replica + 1) * shape[0]] >= self.rate
        return tf.where(kept, inputs / (1 - self.rate), tf.zeros_like(inputs))
