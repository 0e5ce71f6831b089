import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks.critic import Critic


def random_images(shape, count=5):
    return tf.random.stateless_uniform([count, *shape], seed=[0, 1])


def test_the_parameter_count_is_that_of_the_paper():
    """Figure 2b, counted by hand."""
    critic = Critic()
    critic.build((None, 28, 28, 1))
    trainable = sum(int(np.prod(v.shape)) for v in critic.trainable_variables)
    score = 4 * 4 * 256 + 1
    assert trainable == (9 * 64 + 64) + (9 * 64 * 128 + 128) + (9 * 128 * 256 + 256) + score


@pytest.mark.parametrize("filters", [(64, 128, 256), (4, 8)])
def test_a_loaded_critic_equals_the_saved_one(filters, tmp_path):
    critic = Critic(filters)
    critic.build((None, 12, 12, 1))
    critic.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert loaded.get_config() == critic.get_config()
    np.testing.assert_array_equal(
        loaded(random_images((12, 12, 1))), critic(random_images((12, 12, 1)))
    )


def test_a_score_does_not_depend_on_the_other_images():
    critic = Critic(filters=(4, 8))
    critic.build((None, 12, 12, 1))
    batch = random_images((12, 12, 1))
    assert critic(batch).shape == (5,)
    np.testing.assert_allclose(critic(batch)[:2], critic(batch[:2]), atol=1e-6)
