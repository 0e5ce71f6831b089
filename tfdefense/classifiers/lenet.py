"""LeNet-5, the smallest network of the APE-GAN++ paper.

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998. The layers
are in its section II.B and figure 2. As usual today, all feature maps are connected and the output is
linear: 61,706 parameters.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import (
    Architecture,
    ImageShape,
    Recipe,
    require_min_size,
)


def build_lenet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build two convolutions with average pooling, and three dense layers, with tanh activations.

    Args:
      image_shape: (H, W, C), with H and W of 12 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    require_min_size("lenet", image_shape, 12)
    # Images of 28x28 are padded to 32x32, the size in the paper.
    padding = "same" if min(image_shape[:2]) < 32 else "valid"
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
