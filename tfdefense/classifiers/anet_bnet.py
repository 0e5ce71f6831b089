"""Anet and Bnet, the networks for MNIST of the conditional GAN paper.

Yu, Wang, Fang, Zhang, "The Defense of Adversarial Example with Conditional Generative Adversarial
Networks", 2020. The layers are in its table 1. The table ends both networks with "FC(10) + ReLU" and
"SoftMax". The last ReLU is omitted here: it keeps every logit at zero or above, and a logit of the true
class at zero has no gradient.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import (
    Architecture,
    ImageShape,
    Recipe,
    require_min_size,
)


def build_anet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build two convolutions, the second with stride 2, and two dense layers, with dropout.

    Args:
      image_shape: (H, W, C), with H and W of 10 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
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
    """Build two pairs of 3x3 convolutions with max-pooling, and three dense layers with dropout.

    Args:
      image_shape: (H, W, C), with H and W of 16 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
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
