"""MNIST-CNN of the APE-GAN++ paper (figure 3)."""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import Architecture, ImageShape, require_min_size


def build_mnist_cnn(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Two convolutions, one wide max-pool, two dense layers; dropout between.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 10) -> logits float32 [N, num_classes].
    """
    require_min_size("mnist_cnn", image_shape, 10)
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(6),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128),
            layers.Dropout(0.5),
            layers.Dense(num_classes),
        ],
        name="mnist_cnn",
    )


MNIST_CNN = Architecture("mnist_cnn", "MNIST-CNN of the APE-GAN++ paper, figure 3", build_mnist_cnn)
