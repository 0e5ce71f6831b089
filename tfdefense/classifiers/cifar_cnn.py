"""CIFAR-CNN of the APE-GAN++ paper (figure 3)."""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import Architecture, ImageShape, require_min_size


def build_cifar_cnn(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Two blocks of two convolutions, each closed by a wide max-pool; three dense layers.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 16) -> logits float32 [N, num_classes].
    """
    require_min_size("cifar_cnn", image_shape, 16)
    return keras.Sequential(
        [
            keras.Input(image_shape),
            *_block(64),
            *_block(128),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(256, activation="relu"),
            layers.Dense(num_classes),
        ],
        name="cifar_cnn",
    )


def _block(filters: int) -> list[keras.Layer]:
    convolution = [
        layer
        for _ in range(2)
        for layer in (
            layers.Conv2D(filters, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
        )
    ]
    return [*convolution, layers.MaxPooling2D(4)]


CIFAR_CNN = Architecture("cifar_cnn", "CIFAR-CNN of the APE-GAN++ paper, figure 3", build_cifar_cnn)
