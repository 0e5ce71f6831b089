import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.activations import leaky_relu
from tfdefense.networks.critic import Critic
from tfdefense.networks.generator import EncoderDecoderGenerator

NETWORKS = [
    EncoderDecoderGenerator(channels=1),
    EncoderDecoderGenerator(channels=3, filters=(8, 16, 32)),
    Critic(),
    Critic(filters=(4, 8)),
]


def images(shape, count=5):
    return tf.random.stateless_uniform([count, *shape], seed=[0, 1])


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (29, 30, 1), (7, 5, 3)])
def test_generator_gives_images_of_any_size(shape):
    generator = EncoderDecoderGenerator(channels=shape[-1])
    generator.build((None, *shape))
    result = generator(images(shape))
    assert result.shape == (5, *shape)
    assert np.min(result) >= 0
    assert np.max(result) <= 1


def test_sizes_are_the_papers():
    """Figure 2 by hand: kernels, biases, and scale and shift of each normalisation."""
    generator, critic = EncoderDecoderGenerator(channels=1), Critic()
    for network in (generator, critic):
        network.build((None, 28, 28, 1))

    def trainable(network):
        return sum(int(np.prod(v.shape)) for v in network.trainable_variables)

    convolutions = (16 * 64 + 64) + (16 * 64 * 128 + 128) + (16 * 128 * 64 + 64) + (16 * 64 + 1)
    assert trainable(generator) == convolutions + 2 * (64 + 128 + 64)
    scores = 4 * 4 * 256 + 1
    assert (
        trainable(critic) == (9 * 64 + 64) + (9 * 64 * 128 + 128) + (9 * 128 * 256 + 256) + scores
    )


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.name}{n.filters}")
def test_saved_and_loaded_is_the_same(network, tmp_path):
    shape = (12, 12, getattr(network, "channels", 1))
    network.build((None, *shape))
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert loaded.get_config() == network.get_config()
    np.testing.assert_array_equal(loaded(images(shape)), network(images(shape)))


def test_purifying_an_image_does_not_depend_on_its_batch():
    generator = EncoderDecoderGenerator(channels=1)
    generator.build((None, 12, 12, 1))
    batch = images((12, 12, 1))
    for _ in range(3):
        generator(batch, training=True)
    np.testing.assert_allclose(generator(batch)[:1], generator(batch[:1]), atol=1e-6)


def test_critic_scores_are_per_example():
    critic = Critic(filters=(4, 8))
    critic.build((None, 12, 12, 1))
    batch = images((12, 12, 1))
    assert critic(batch).shape == (5,)
    np.testing.assert_allclose(critic(batch)[:2], critic(batch[:2]), atol=1e-6)


def test_leaky_relu_has_the_value_and_both_derivatives_of_tensorflows():
    features = tf.random.stateless_normal([64], seed=[3, 4])
    results = []
    for function in (leaky_relu, lambda x: tf.nn.leaky_relu(x, 0.01)):
        with tf.GradientTape() as outer:
            outer.watch(features)
            with tf.GradientTape() as inner:
                inner.watch(features)
                value = function(tf.square(features) - 0.5)
            first = inner.gradient(value, features)
        results.append((value, first, outer.gradient(first, features)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
