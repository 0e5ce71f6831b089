"""Small models to attack: one that was trained, one that is linear, and one that counts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

SHAPE = (10, 10, 2)
CLASSES = 5


class Linear:
    """Logits W x + b: every gradient, and the nearest boundary, has a closed form."""

    def __init__(self, shape=SHAPE, classes=CLASSES):
        size = int(np.prod(shape))
        self.weights = tf.random.stateless_normal([size, classes], seed=[1, 2])
        # Right on the grey image, so that what is near it has a boundary near it.
        self.bias = -tf.reduce_sum(self.weights, axis=0) / 2

    def __call__(self, images):
        flat = tf.reshape(images, [tf.shape(images)[0], self.weights.shape[0]])
        return flat @ self.weights + self.bias

    def numpy(self, images):
        return images.reshape(len(images), -1) @ self.weights.numpy() + self.bias.numpy()

    def gradient(self, images, labels):
        """Of the cross-entropy."""
        logits = self.numpy(images)
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        probabilities[np.arange(len(labels)), labels] -= 1
        return (probabilities @ self.weights.numpy().T).reshape(images.shape)


class Counted:
    """A model that counts for how many images it was asked, and for how many differentiated."""

    def __init__(self, model):
        self.model = model
        self.queries = tf.Variable(0)
        self.gradients = tf.Variable(0)

        @tf.custom_gradient
        def through(logits):
            def backward(upstream):
                self.gradients.assign_add(tf.shape(upstream)[0])
                return upstream

            return tf.identity(logits), backward

        self.through = through

    def __call__(self, images):
        self.queries.assign_add(tf.shape(images)[0])
        return self.through(self.model(images))

    def reset(self):
        self.queries.assign(0)
        self.gradients.assign(0)


@pytest.fixture(scope="session")
def victim_images():
    """float32 [20, 10, 10, 2]: noise with a bright bar whose row is the class."""
    rng = np.random.default_rng(0)
    images = 0.4 * rng.random((20, *SHAPE), np.float32)
    for index in range(20):
        row = 2 * (index % CLASSES)
        images[index, row : row + 2] += 0.5
    return images


@pytest.fixture(scope="session")
def victim_labels():
    return (np.arange(20) % CLASSES).astype(np.int32)


@pytest.fixture(scope="session")
def victim(victim_images, victim_labels):
    """A small smooth classifier, right on all of `victim_images`."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(4, 3, strides=2, activation="tanh"),
        keras.layers.Flatten(),
        keras.layers.Dense(CLASSES),
    ]
    model = keras.Sequential([keras.Input(SHAPE), *layers], name="victim")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(victim_images, victim_labels, epochs=80, batch_size=20, verbose=0)
    assert np.all(np.argmax(model(victim_images), 1) == victim_labels)
    return model


@pytest.fixture(scope="session")
def linear():
    return Linear()


@pytest.fixture(scope="session")
def linear_images(linear):
    """float32 [16, 10, 10, 2] near grey, and the classes that the linear model sees in them."""
    rng = np.random.default_rng(1)
    images = (0.5 + 0.1 * (rng.random((16, *SHAPE)) - 0.5)).astype(np.float32)
    return images, np.argmax(linear.numpy(images), 1).astype(np.int32)
