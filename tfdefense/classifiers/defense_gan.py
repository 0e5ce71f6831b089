"""The four classifiers that Defense-GAN, and after it the conditional GAN paper (table 6), attack.

Samangouei, Kabkab, Chellappa, "Defense-GAN", 2018, appendix; where the appendix is silent on padding, as
in the authors' published code, which also has a 5x5 kernel in C's second layer and one dropout in D.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import Architecture, ImageShape, Recipe, require_min_size


def build_defense_gan_a(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Two 5x5 convolutions, the second with stride 2, and two dense layers; dropout before each.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 10) -> logits float32 [N, num_classes].
    """
    return _sequential(
        "defense_gan_a",
        image_shape,
        layers.Conv2D(64, 5, padding="same", activation="relu"),
        layers.Conv2D(64, 5, 2, activation="relu"),
        *_dense_head(num_classes),
    )


def build_defense_gan_b(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Dropout on the image, three convolutions, one dense layer.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 28) -> logits float32 [N, num_classes].
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


def defense_gan_c(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """A 3x3 and a 5x5 convolution, the second with stride 2, and two dense layers with dropout.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 10) -> logits float32 [N, num_classes].
    """
    return _sequential(
        "defense_gan_c",
        image_shape,
        layers.Conv2D(128, 3, padding="same", activation="relu"),
        layers.Conv2D(64, 5, 2, activation="relu"),
        *_dense_head(num_classes),
    )


def defense_gan_d(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Three dense layers, no convolution.

    Images float32 [N, H, W, C] in [0, 1] -> logits float32 [N, num_classes].
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
    defense_gan_c,
    grey=Recipe(training_images=1_200_000, augmentation="affine"),
)
DEFENSE_GAN_D = Architecture(
    "defense_gan_d",
    "Defense-GAN's classifier D: dense layers only",
    defense_gan_d,
    grey=Recipe(training_images=12_000_000, most_epochs=200, augmentation="affine"),
)
