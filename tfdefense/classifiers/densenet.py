"""Densely connected networks: DenseNet-121 for small images, and Dnet of the conditional GAN paper.

Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", 2017. The layers are
in section 3 and table 1: bottlenecks with four times the growth rate as channels, and transitions that
halve the channels. The APE-GAN++ paper names DenseNet as a classifier for CIFAR-10, without its depth.
"""

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import (
    Architecture,
    ImageShape,
    make_fast_color_recipe,
    make_sgd_recipe,
    require_min_size,
)


def build_densenet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build DenseNet-121 (blocks of 6, 12, 24 and 16 layers) with growth rate 12.

    The first convolution is 3x3 with stride 1, as is usual for small images. It has 1,000,618
    parameters on CIFAR-10; with the growth rate of ImageNet, 32, it would have 6,956,298.

    Args:
      image_shape: (H, W, C), with H and W of 16 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    require_min_size("densenet", image_shape, 16)
    return _densenet("densenet", image_shape, num_classes, (6, 12, 24, 16), growth=12)


def build_dnet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build DenseNet-BC with depth 100 and growth rate 12: three blocks of 16 layers.

    Section 4.1 of Huang et al. describes it. The conditional GAN paper does not say which DenseNet its
    Dnet is. Huang et al. recommend this one for CIFAR-10, where they report 95.49 %; Dnet has 95.04 %.
    It has 769,162 parameters on CIFAR-10.

    Args:
      image_shape: (H, W, C), with H and W of 16 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    require_min_size("dnet", image_shape, 16)
    return _densenet("dnet", image_shape, num_classes, (16, 16, 16), growth=12)


def _densenet(
    name: str, image_shape: ImageShape, num_classes: int, blocks: tuple[int, ...], growth: int
) -> keras.Model:
    """Build dense blocks with the given numbers of layers, and transitions between them."""
    images = keras.Input(image_shape)
    features = _convolution(images, 2 * growth, 3)
    for block, depth in enumerate(blocks):
        for _ in range(depth):
            new = _convolution(_normalize_and_activate(features), 4 * growth, 1)
            new = _convolution(_normalize_and_activate(new), growth, 3)
            features = layers.Concatenate()([features, new])
        if block + 1 < len(blocks):
            features = _convolution(_normalize_and_activate(features), features.shape[-1] // 2, 1)
            features = layers.AveragePooling2D(2)(features)
    features = layers.GlobalAveragePooling2D()(_normalize_and_activate(features))
    return keras.Model(images, layers.Dense(num_classes)(features), name=name)


def _normalize_and_activate(features: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization()(features))


def _convolution(features: keras.KerasTensor, filters: int, size: int) -> keras.KerasTensor:
    return layers.Conv2D(
        filters, size, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(features)


_GREY = make_sgd_recipe(180_000, learning_rate=0.1, weight_decay=1e-3)
DENSENET = Architecture(
    "densenet",
    "DenseNet-121's layout with growth 12, for small images (Huang et al. 2017)",
    build_densenet,
    grey=_GREY,
    color=make_fast_color_recipe(1_160_000),
)
DNET = Architecture(
    "dnet",
    "Dnet of the conditional GAN paper: DenseNet-BC, depth 100, growth 12 (Huang et al. 2017)",
    build_dnet,
    grey=_GREY,
    color=make_sgd_recipe(
        5_000_000, learning_rate=0.1, weight_decay=1e-3, augmentation="shift", mirror=True
    ),
)
