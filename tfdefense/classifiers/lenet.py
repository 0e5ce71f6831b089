"""LeNet-5, the smallest of the APE-GAN++ paper's networks.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998, with
all feature maps connected and a linear output, as it is used today: 61,706 parameters.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import Architecture, ImageShape, Recipe, require_min_size


def build_lenet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Two convolutions with average pooling, three dense layers, tanh between.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 12) -> logits float32 [N, num_classes].
    """
    require_min_size("lenet", image_shape, 12)
    # 28x28 are padded to the 32x32 that the network was made for.
    padding = "same" if image_shape[0] < 32 else "valid"
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(6, 5, padding=padding, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh"),
            layers.Dense(num_classes),
        ],
        name="lenet",
    )


LENET = Architecture(
    "lenet",
    "LeNet-5 (LeCun et al. 1998)",
    build_lenet,
    grey=Recipe(training_images=900_000, learning_rate=2e-3, augmentation="affine"),
)
