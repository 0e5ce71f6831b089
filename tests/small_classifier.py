"""A classifier that takes the place of mnist_cnn where its training is not the point of a test."""

import dataclasses

import keras
from keras import layers

from tfdefense.classifiers import mnist_cnn
from tfdefense.classifiers.core.architecture import ImageShape, Recipe, require_min_size


def build_small_cnn(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build mnist_cnn with few filters and with strides: a twentieth of its operations or less."""
    require_min_size("mnist_cnn", image_shape, 10)
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(num_classes),
        ],
        name="mnist_cnn",
    )


def train_small_classifier(patch, images: int = 6_000) -> None:
    """Let `mnist_cnn` mean the small network, trained on so many images, repetitions included."""
    recipe = Recipe(training_images=images, learning_rate=5e-3)
    small = dataclasses.replace(mnist_cnn.MNIST_CNN, build=build_small_cnn, grey=recipe)
    patch.setattr(mnist_cnn, "MNIST_CNN", small)
