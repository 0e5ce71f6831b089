"""Classifiers A, B, C and D, which the papers on Defense-GAN and on the conditional GAN attack.

Samangouei, Kabkab, Chellappa, "Defense-GAN: Protecting Classifiers Against Adversarial Attacks Using
Generative Models", 2018. The layers are in the table of classifiers in its appendix. The appendix does
not give the padding, which is that of the authors' code. Their code also has a 5x5 kernel in the second
layer of C and only one dropout in D. The conditional GAN paper uses these classifiers in its table 6.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import (
    Architecture,
    ImageShape,
    Recipe,
    require_min_size,
)


def build_defense_gan_a(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build two 5x5 convolutions, the second with stride 2, and two dense layers with dropout.

    Args:
      image_shape: (H, W, C), with H and W of 10 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    return _sequential(
        "defense_gan_a",
        image_shape,
        layers.Conv2D(64, 5, padding="same", activation="relu"),
        layers.Conv2D(64, 5, 2, activation="relu"),
        *_dense_head(num_classes),
    )


def build_defense_gan_b(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build dropout on the image, three convolutions, and one dense layer.

    Args:
      image_shape: (H, W, C), with H and W of 28 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    require_min_size("defense_gan_b", image_shape, 28)
    return _sequential(
        "defense_gan_b",
        image_shape,
        layers.Dropout(0.2),
        layers.Conv2D(64, 8, 2, "same", activation="relu"),
        layers.Conv2D(128, 6, 2, activation="relu"),
        layers.Conv2D(128, 5, activation="relu"),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(num_classes),
    )


def build_defense_gan_c(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build a 3x3 and a 5x5 convolution, the second with stride 2, and two dense layers with dropout.

    Args:
      image_shape: (H, W, C), with H and W of 10 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    return _sequential(
        "defense_gan_c",
        image_shape,
        layers.Conv2D(128, 3, padding="same", activation="relu"),
        layers.Conv2D(64, 5, 2, activation="relu"),
        *_dense_head(num_classes),
    )


def build_defense_gan_d(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build three dense layers without convolutions.

    Args:
      image_shape: (H, W, C), with H and W of 10 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    return _sequential(
        "defense_gan_d",
        image_shape,
        layers.Flatten(),
        layers.Dense(200, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(200, activation="relu"),
        layers.Dense(num_classes),
    )


def _sequential(name: str, image_shape: ImageShape, *stack: keras.Layer) -> keras.Model:
    require_min_size(name, image_shape, 10)
    return keras.Sequential([keras.Input(image_shape), *stack], name=name)


def _dense_head(num_classes: int) -> list[keras.Layer]:
    return [
        layers.Flatten(),
        layers.Dropout(0.25),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(num_classes),
    ]


DEFENSE_GAN_A = Architecture(
    "defense_gan_a",
    "Defense-GAN's classifier A: two convolutions, two dense layers",
    build_defense_gan_a,
    grey=Recipe(training_images=1_800_000, augmentation="affine"),
)
DEFENSE_GAN_B = Architecture(
    "defense_gan_b",
    "Defense-GAN's classifier B: dropout on the image, three convolutions",
    build_defense_gan_b,
)
DEFENSE_GAN_C = Architecture(
    "defense_gan_c",
    "Defense-GAN's classifier C: two convolutions, two dense layers",
    build_defense_gan_c,
    grey=Recipe(training_images=1_200_000, augmentation="affine"),
)
DEFENSE_GAN_D = Architecture(
    "defense_gan_d",
    "Defense-GAN's classifier D: dense layers only",
    build_defense_gan_d,
    grey=Recipe(training_images=12_000_000, most_epochs=200, augmentation="affine"),
)
