"""Small models to attack: a trained one, a linear one, and one that counts its calls."""

import keras
import numpy as np
import pytest
import tensorflow as tf

SHAPE = (10, 10, 2)
CLASSES = 5


class LinearModel:
    """Logits W x + b; gradients and distances to class boundaries have a closed form."""

    def __init__(self, shape=SHAPE, classes=CLASSES):
        size = int(np.prod(shape))
        self.weights = tf.random.stateless_normal([size, classes], seed=[1, 2])
        # The logits of the grey image are zero, so images close to it are close to a boundary.
        self.bias = -tf.reduce_sum(self.weights, axis=0) / 2

    def __call__(self, images):
        flat = tf.reshape(images, [tf.shape(images)[0], self.weights.shape[0]])
        return flat @ self.weights + self.bias

    def numpy(self, images):
        return images.reshape(len(images), -1) @ self.weights.numpy() + self.bias.numpy()

    def gradient(self, images, labels):
        """Return the gradient of the cross-entropy."""
        logits = self.numpy(images)
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        probabilities[np.arange(len(labels)), labels] -= 1
        return (probabilities @ self.weights.numpy().T).reshape(images.shape)

    def boundary_distances(self, images, labels, norm):
        """Return the distance of each image from the nearest class boundary."""
        logits, weights = self.numpy(images), self.weights.numpy()
        distances = np.full((len(images), weights.shape[1]), np.inf)
        for index, label in enumerate(labels):
            for other in range(weights.shape[1]):
                if other != label:
                    w = weights[:, other] - weights[:, label]
                    dual_norm = np.linalg.norm(w) if norm == "l2" else np.abs(w).sum()
                    lead = logits[index, label] - logits[index, other]
                    distances[index, other] = lead / dual_norm
        return distances.min(1)


class CountingModel:
    """Model that counts the images of its forward passes and of its backward passes."""

    def __init__(self, model):
        self.model = model
        self.queries = tf.Variable(0)
        self.gradients = tf.Variable(0)

        @tf.custom_gradient
        def count_backward_pass(logits):
            def backward(upstream):
                self.gradients.assign_add(tf.shape(upstream)[0])
                return upstream

            return tf.identity(logits), backward

        self.count_backward_pass = count_backward_pass

    def __call__(self, images):
        self.queries.assign_add(tf.shape(images)[0])
        return self.count_backward_pass(self.model(images))

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
    """A small smooth classifier that is right on all of `victim_images`."""
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
    return LinearModel()


@pytest.fixture(scope="session")
def linear_images(linear):
    """float32 [16, 10, 10, 2] close to grey, and the classes that the linear model predicts."""
    rng = np.random.default_rng(1)
    images = (0.5 + 0.1 * (rng.random((16, *SHAPE)) - 0.5)).astype(np.float32)
    return images, np.argmax(linear.numpy(images), 1).astype(np.int32)
