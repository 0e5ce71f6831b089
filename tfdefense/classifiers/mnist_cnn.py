"""MNIST-CNN of the APE-GAN++ paper.

Yang, Chen, Cao, "APE-GAN++: An Improved APE-GAN to Eliminate Adversarial Perturbations". The layers are
in its figure 3; the sizes of kernels, pooling and dense layers are those of the authors' code, in which
the first dense layer has no activation.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import Architecture, ImageShape, require_min_size


def build_mnist_cnn(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build two convolutions, a 6x6 max-pooling, and two dense layers, with dropout.

    Args:
      image_shape: (H, W, C), with H and W of 10 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
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
