import numpy as np
import pytest
import tensorflow as tf

from tfdefense.networks import losses
from tfdefense.networks.critic import Critic


@pytest.fixture
def critic():
    tf.keras.utils.set_random_seed(1)
    # float64 allows difference quotients with steps too small to cross a kink of leaky ReLU.
    tf.keras.config.set_dtype_policy("float64")
    critic = Critic(filters=(6, 8))
    critic.build((None, 8, 8, 1))
    tf.keras.config.set_dtype_policy("float32")
    return critic


@pytest.fixture
def batch():
    real, fake = (
        tf.random.stateless_uniform([4, 8, 8, 1], seed=[0, s], dtype=tf.float64) for s in (1, 2)
    )
    return real, fake, tf.constant([0.0, 0.3, 0.7, 1.0], tf.float64)


@pytest.mark.slow
def test_the_penalty_equals_that_of_a_numerical_gradient(critic, batch):
    """The input gradient by central differences, pixel by pixel."""
    real, fake, weights = batch
    between = (
        weights[:, None, None, None] * real + (1 - weights[:, None, None, None]) * fake
    ).numpy()
    h, gradient = 1e-6, np.zeros_like(between)
    for i in range(8):
        for j in range(8):
            step = np.zeros_like(between)
            step[:, i, j, 0] = h
            gradient[:, i, j, 0] = (critic(between + step) - critic(between - step)) / (2 * h)
    norm = np.sqrt(np.square(gradient).sum(axis=(1, 2, 3)))
    penalty = losses.gradient_penalty(critic, real, fake, weights)
    np.testing.assert_allclose(penalty, (norm - 1) ** 2, rtol=1e-4)


def test_the_gradient_of_the_penalty_equals_the_numerical_one(critic, batch):
    """Along random directions in the space of all weights of the critic."""
    variables = critic.trainable_variables

    def penalty():
        return tf.reduce_mean(losses.gradient_penalty(critic, *batch))

    with tf.GradientTape() as tape:
        value = penalty()
    gradients = tape.gradient(value, variables)
    start = [variable.numpy() for variable in variables]
    h = 1e-7
    for seed in range(3):
        rng = np.random.default_rng(seed)
        direction = [rng.standard_normal(value.shape) for value in start]
        ends = []
        for sign in (1, -1):
            for variable, value, along in zip(variables, start, direction, strict=True):
                variable.assign(value + sign * h * along)
            ends.append(float(penalty()))
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        numerical = (ends[0] - ends[1]) / (2 * h)
        exact = sum(
            float(np.sum(g.numpy() * d))
            for g, d in zip(gradients, direction, strict=True)
            if g is not None  # Biases do not enter an input gradient.
        )
        assert exact == pytest.approx(numerical, rel=1e-4, abs=1e-6)


def test_the_penalty_of_a_linear_critic_is_exact_and_has_a_finite_gradient_at_zero():
    images = tf.zeros([2, 3, 3, 1])
    weights = tf.zeros([2])
    assert np.allclose(
        losses.gradient_penalty(
            lambda x: 2.0 * tf.reduce_sum(x, [1, 2, 3]), images, images, weights
        ),
        (2.0 * 3.0 - 1.0) ** 2,
    )
    slope = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        value = losses.gradient_penalty(
            lambda x: slope * tf.reduce_sum(x, [1, 2, 3]), images, images, weights
        )
    assert np.isfinite(tape.gradient(value, slope))


def test_wasserstein_losses_of_critic_and_generator_have_opposite_signs():
    real, fake = tf.constant([2.0, 1.0]), tf.constant([0.5, 3.0])
    assert losses.wasserstein_critic_loss(real, fake).numpy().tolist() == [-1.5, 2.0]
    assert losses.wasserstein_generator_loss(fake).numpy().tolist() == [-0.5, -3.0]


def test_squared_error_and_cross_entropy_return_one_number_per_example():
    clean = tf.zeros([2, 2, 2, 1])
    purified = tf.stack([tf.zeros([2, 2, 1]), tf.fill([2, 2, 1], 0.5)])
    assert losses.mean_squared_error(clean, purified).numpy().tolist() == [0.0, 0.25]
    logits = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    expected = -np.log(np.exp(logits[[0, 1], [1, 2]]) / np.exp(logits).sum(1))
    np.testing.assert_allclose(
        losses.cross_entropy(tf.constant([1, 2]), logits), expected, rtol=1e-6
    )


def test_gan_losses_are_the_logarithms_of_the_discriminators_probabilities():
    real, fake = np.array([2.0, -1.0], np.float32), np.array([0.5, 3.0], np.float32)
    real_probability, fake_probability = (1 / (1 + np.exp(-logits)) for logits in (real, fake))
    expected = -np.log(real_probability) - np.log(1 - fake_probability)
    np.testing.assert_allclose(losses.gan_discriminator_loss(real, fake), expected, rtol=1e-6)
    np.testing.assert_allclose(
        losses.gan_generator_loss(fake), -np.log(fake_probability), rtol=1e-6
    )


def test_gan_losses_and_absolute_error_are_means_over_patches_and_pixels():
    logits = tf.reshape(tf.constant([0.0, 1.0, 2.0, 3.0, -1.0, 0.0, 1.0, 2.0]), [2, 2, 2, 1])
    per_patch = losses.gan_generator_loss(tf.reshape(logits, [8]))
    expected = np.reshape(per_patch, [2, 4]).mean(axis=1)
    np.testing.assert_allclose(losses.gan_generator_loss(logits), expected, rtol=1e-6)
    np.testing.assert_allclose(
        losses.mean_absolute_error(tf.zeros([2, 2, 2, 1]), logits), [1.5, 1.0], rtol=1e-6
    )


@pytest.fixture
def logits():
    """float32 [5, 4], with a logit of -inf in the third row."""
    values = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    values[2, 1] = -np.inf
    return tf.constant(values)


def value_and_gradient(function, logits):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = function(logits)
    return values.numpy(), tape.gradient(values, logits).numpy()


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("classes", [[0, 3, 2, 1, 0], [1, 1, 1, 1, 1]])
def test_selected_logits_are_those_of_gather(logits, dtype, known, classes):
    """With an infinite logit, of the class or of another one, and of classes whose number is unknown."""
    classes = tf.constant(classes, dtype)
    compiled = tf.function(losses.select_logits, autograph=False, reduce_retracing=True)
    shape = [None, 4 if known else None]
    compiled = compiled.get_concrete_function(tf.TensorSpec(shape), tf.TensorSpec([None], dtype))
    expected = value_and_gradient(lambda z: tf.gather(z, classes, batch_dims=1), logits)
    for found, value in zip(
        value_and_gradient(lambda z: compiled(z, classes), logits), expected, strict=True
    ):
        np.testing.assert_array_equal(found, value)


def test_the_cross_entropy_is_that_of_tensorflow(logits):
    finite = tf.where(tf.math.is_finite(logits), logits, -50.0)
    labels = tf.constant([0, 3, 1, 2, 2])
    expected = value_and_gradient(
        lambda z: tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z), finite
    )
    found = value_and_gradient(lambda z: losses.cross_entropy(labels, z), finite)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    half = losses.cross_entropy(labels, tf.cast(finite, tf.float16))
    assert half.dtype == tf.float32


def test_classes_that_do_not_exist_have_no_logit(logits):
    found = losses.select_logits(logits, tf.constant([4, 0, 0, -1, 3])).numpy()
    np.testing.assert_array_equal(np.isnan(found), [True, False, False, True, False])
    with pytest.raises(ValueError, match="rank 1"):
        losses.select_logits(logits, tf.zeros([5, 1], tf.int32))
