"""Residual networks: ResNet18 for small images, and the ResNet for CIFAR-10 of the conditional GAN paper.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016.
"""

from collections.abc import Callable

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import (
    Architecture,
    ImageShape,
    make_sgd_recipes,
    require_min_size,
)


def resnet18(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Four stages of two basic blocks, 64 to 512 filters; where the shape changes, 1x1 shortcuts.

    The first convolution is 3x3 with stride 1 and no pooling follows it, as is usual for images of
    this size: 11,173,962 parameters on CIFAR-10.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 16) -> logits float32 [N, num_classes].
    """
    require_min_size("resnet18", image_shape, 16)
    return _resnet("resnet18", image_shape, num_classes, (64, 128, 256, 512), 2, _projection)


def rnet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """ResNet-110 for CIFAR-10 (section 4.2 there): three stages of 18 blocks, 16 to 64 filters.

    Shortcuts have no parameters. The conditional GAN paper does not say which depth its Rnet has; this
    is the one whose published accuracy, 93.57 %, is nearest to its 93.63 %. 1,727,962 parameters.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 16) -> logits float32 [N, num_classes].
    """
    require_min_size("rnet", image_shape, 16)
    return _resnet("rnet", image_shape, num_classes, (16, 32, 64), 18, _padded)


def _resnet(
    name: str,
    image_shape: ImageShape,
    num_classes: int,
    stages: tuple[int, ...],
    blocks: int,
    shortcut: Callable[[keras.KerasTensor, int, int], keras.KerasTensor],
) -> keras.Model:
    images = keras.Input(image_shape)
    features = layers.ReLU()(_convolution(images, stages[0]))
    for stage, filters in enumerate(stages):
        for block in range(blocks):
            strides = 2 if stage > 0 and block == 0 else 1
            residual = layers.ReLU()(_convolution(features, filters, strides))
            residual = _convolution(residual, filters)
            if features.shape[1:] != residual.shape[1:]:
                features = shortcut(features, filters, strides)
            features = layers.ReLU()(layers.Add()([features, residual]))
    features = layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, layers.Dense(num_classes)(features), name=name)


def _convolution(
    features: keras.KerasTensor, filters: int, strides: int = 1, size: int = 3
) -> keras.KerasTensor:
    features = layers.Conv2D(
        filters, size, strides, "same", use_bias=False, kernel_initializer="he_normal"
    )(features)
    return layers.BatchNormalization()(features)


def _projection(features: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    """Option B of section 3.3: a 1x1 convolution."""
    return _convolution(features, filters, strides, size=1)


def _padded(features: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    """Option A of section 3.3: every second pixel, and zeros for the new channels."""
    features = layers.AveragePooling2D(1, strides, "same")(features)
    missing = filters - features.shape[-1]
    # ZeroPadding2D pads height and width; so the channels take width's place for a moment.
    features = layers.Permute((1, 3, 2))(features)
    features = layers.ZeroPadding2D(((0, 0), (missing // 2, missing - missing // 2)))(features)
    return layers.Permute((1, 3, 2))(features)


RESNET18 = Architecture(
    "resnet18",
    "ResNet18 for small images (He et al. 2016)",
    resnet18,
    **make_sgd_recipes(180_000, 2_500_000, learning_rate=0.05, weight_decay=5e-3),
)
RNET = Architecture(
    "rnet",
    "Rnet of the conditional GAN paper: ResNet-110 for CIFAR-10 (He et al. 2016)",
    rnet,
    **make_sgd_recipes(180_000, 8_000_000, learning_rate=0.1, weight_decay=1e-3),
)
