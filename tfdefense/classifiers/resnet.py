"""Residual networks: ResNet18 for small images, and Rnet of the conditional GAN paper.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016. The layers of ResNet18 are in its
table 1, those of ResNet-110 for CIFAR-10 in the table of its section 4.2.
"""

import dataclasses
from collections.abc import Callable

import keras
from keras import layers

from tfdefense.classifiers.core.architecture import (
    Architecture,
    ImageShape,
    make_fast_color_recipe,
    make_sgd_recipe,
    require_min_size,
)


def build_resnet18(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build four stages of two basic blocks, 64 to 512 filters, with 1x1 shortcuts between stages.

    The first convolution is 3x3 with stride 1 without pooling after it, as is usual for small images:
    11,173,962 parameters on CIFAR-10.

    Args:
      image_shape: (H, W, C), with H and W of 16 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    require_min_size("resnet18", image_shape, 16)
    return _resnet(
        "resnet18", image_shape, num_classes, _Stages((64, 128, 256, 512), 2, _project_shortcut)
    )


def build_rnet(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build ResNet-110 for CIFAR-10: three stages of 18 basic blocks, 16 to 64 filters.

    Shortcuts have no parameters. The conditional GAN paper does not give the depth of its Rnet, which
    has 93.63 %. Of the depths in He et al., 110 has the nearest accuracy, 93.57 %. It has 1,727,962
    parameters on CIFAR-10.

    Args:
      image_shape: (H, W, C), with H and W of 16 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    require_min_size("rnet", image_shape, 16)
    return _resnet("rnet", image_shape, num_classes, _Stages((16, 32, 64), 18, _pad_shortcut))


@dataclasses.dataclass(frozen=True)
class _Stages:
    """Stages of basic blocks.

    Attributes:
      filters: one number per stage.
      blocks: number of blocks in each stage.
      shortcut: (features, filters, strides) -> features with another shape.
    """

    filters: tuple[int, ...]
    blocks: int
    shortcut: Callable[[keras.KerasTensor, int, int], keras.KerasTensor]


def _resnet(name: str, image_shape: ImageShape, num_classes: int, stages: _Stages) -> keras.Model:
    images = keras.Input(image_shape)
    features = layers.ReLU()(_convolution(images, stages.filters[0]))
    for stage, filters in enumerate(stages.filters):
        for block in range(stages.blocks):
            strides = 2 if stage > 0 and block == 0 else 1
            residual = layers.ReLU()(_convolution(features, filters, strides))
            residual = _convolution(residual, filters)
            if features.shape[1:] != residual.shape[1:]:
                features = stages.shortcut(features, filters, strides)
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


def _project_shortcut(features: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    """Change the shape with a 1x1 convolution (option B of section 3.3)."""
    return _convolution(features, filters, strides, size=1)


def _pad_shortcut(features: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    """Take every second pixel, and zeros for the new channels (option A of section 3.3)."""
    features = layers.AveragePooling2D(1, strides, "same")(features)
    missing = filters - features.shape[-1]
    # ZeroPadding2D pads height and width, so channels and width are exchanged around it.
    features = layers.Permute((1, 3, 2))(features)
    features = layers.ZeroPadding2D(((0, 0), (missing // 2, missing - missing // 2)))(features)
    return layers.Permute((1, 3, 2))(features)


RESNET18 = Architecture(
    "resnet18",
    "ResNet18 for small images (He et al. 2016)",
    build_resnet18,
    grey=make_sgd_recipe(180_000, learning_rate=0.05, weight_decay=5e-3),
    color=make_fast_color_recipe(1_110_000, cutout=8, label_smoothing=0.1),
)
RNET = Architecture(
    "rnet",
    "Rnet of the conditional GAN paper: ResNet-110 for CIFAR-10 (He et al. 2016)",
    build_rnet,
    grey=make_sgd_recipe(180_000, learning_rate=0.1, weight_decay=1e-3),
    color=make_sgd_recipe(
        8_000_000, learning_rate=0.1, weight_decay=1e-3, augmentation="shift", mirror=True
    ),
)
