"""MNIST-CNN of the APE-GAN++ paper (figure 3)."""

import keras
from keras import layers

from tfdefense.classifiers.architecture import Architecture
from tfdefense.errors import require


def build(image_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Two convolutions, one wide max-pool, two dense layers; dropout between.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 10) -> logits float32 [N, num_classes].
    """
    require(
        min(image_shape[:2]) >= 10,
        f"--classifier=mnist_cnn: images of {image_shape} given, 10x10 or larger needed.",
    )
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


MNIST_CNN = Architecture("mnist_cnn", build)
