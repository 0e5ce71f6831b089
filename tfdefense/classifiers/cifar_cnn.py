"""CIFAR-CNN of the APE-GAN++ paper.

Yang, Chen, Cao, "APE-GAN++: An Improved APE-GAN to Eliminate Adversarial Perturbations". The layers are
in its figure 3; the sizes of kernels, pools and dense layers are those of the authors' code.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import (
    Architecture,
    ImageShape,
    make_fast_color_recipe,
    require_min_size,
)


def build_cifar_cnn(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build two blocks of two convolutions and a 4x4 max-pooling each, and three dense layers.

    Args:
      image_shape: (H, W, C), with H and W of 16 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
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
    convolutions = [
        layer
        for _ in range(2)
        for layer in (
            layers.Conv2D(filters, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
        )
    ]
    return [*convolutions, layers.MaxPooling2D(4)]


CIFAR_CNN = Architecture(
    "cifar_cnn",
    "CIFAR-CNN of the APE-GAN++ paper, figure 3",
    build_cifar_cnn,
    color=make_fast_color_recipe(1_350_000, label_smoothing=0.1),
)
