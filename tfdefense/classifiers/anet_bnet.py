"""Anet and Bnet, the conditional GAN paper's networks for MNIST (its table 1).

The table ends both with "FC(10) + ReLU, SoftMax". The last ReLU is left out: it would hold every logit at
zero or above, and where a true class's is at zero nothing trains it any more.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import Architecture, ImageShape, Recipe, require_min_size


def build_anet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Two convolutions, the second with stride 2, and two dense layers; dropout between.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 10) -> logits float32 [N, num_classes].
    """
    require_min_size("anet", image_shape, 10)
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(64, 5, activation="relu"),
            layers.Conv2D(64, 3, 2, activation="relu"),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(num_classes),
        ],
        name="anet",
    )


def build_bnet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Two pairs of 3x3 convolutions with max-pools, three dense layers with dropout.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 16) -> logits float32 [N, num_classes].
    """
    require_min_size("bnet", image_shape, 16)
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(200, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(200, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(num_classes),
        ],
        name="bnet",
    )


ANET = Architecture("anet", "Anet of the conditional GAN paper, table 1", build_anet)
BNET = Architecture(
    "bnet",
    "Bnet of the conditional GAN paper, table 1",
    build_bnet,
    grey=Recipe(training_images=1_800_000, augmentation="affine"),
)
