"""Densely connected networks: DenseNet-121 for small images, and Dnet of the conditional GAN paper.

Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", 2017: bottlenecks of
four growths, transitions that halve the channels.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import (
    Architecture,
    ImageShape,
    make_sgd_recipes,
    require_min_size,
)


def densenet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """The layout of DenseNet-121, blocks of 6, 12, 24 and 16 layers, with growth 12.

    The first convolution is 3x3 with stride 1, as is usual for images of this size: 1,000,618
    parameters on CIFAR-10 (with ImageNet's growth of 32 it would have 6,956,298).

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 16) -> logits float32 [N, num_classes].
    """
    require_min_size("densenet", image_shape, 16)
    return _densenet("densenet", image_shape, num_classes, (6, 12, 24, 16), growth=12)


def dnet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """DenseNet-BC with depth 100 and growth 12 (section 4.1 there): three blocks of 16 layers.

    The conditional GAN paper does not say which DenseNet its Dnet is; this is the one that its authors
    recommend for CIFAR-10, at 95.49 % there against Dnet's 95.04 %. 769,162 parameters.

    Images float32 [N, H, W, C] in [0, 1] (H, W >= 16) -> logits float32 [N, num_classes].
    """
    require_min_size("dnet", image_shape, 16)
    return _densenet("dnet", image_shape, num_classes, (16, 16, 16), growth=12)


def _densenet(
    name: str, image_shape: ImageShape, num_classes: int, blocks: tuple[int, ...], growth: int
) -> keras.Model:
    images = keras.Input(image_shape)
    features = _convolution(images, 2 * growth, 3)
    for block, depth in enumerate(blocks):
        for _ in range(depth):
            new = _convolution(_activation(features), 4 * growth, 1)
            new = _convolution(_activation(new), growth, 3)
            features = layers.Concatenate()([features, new])
        if block + 1 < len(blocks):
            features = _convolution(_activation(features), features.shape[-1] // 2, 1)
            features = layers.AveragePooling2D(2)(features)
    features = layers.GlobalAveragePooling2D()(_activation(features))
    return keras.Model(images, layers.Dense(num_classes)(features), name=name)


def _activation(features: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization()(features))


def _convolution(features: keras.KerasTensor, filters: int, size: int) -> keras.KerasTensor:
    return layers.Conv2D(
        filters, size, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(features)


_RECIPES = make_sgd_recipes(180_000, 5_000_000, learning_rate=0.1, weight_decay=1e-3)
DENSENET = Architecture(
    "densenet",
    "DenseNet-121's layout with growth 12, for small images (Huang et al. 2017)",
    densenet,
    **_RECIPES,
)
DNET = Architecture(
    "dnet",
    "Dnet of the conditional GAN paper: DenseNet-BC, depth 100, growth 12 (Huang et al. 2017)",
    dnet,
    **_RECIPES,
)
