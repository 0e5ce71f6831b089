"""VGG16 for small images.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015. The
layers are in its table 1, configuration D. As usual for CIFAR-10, batch normalisation is added and one
dense layer takes the place of three: 14,728,266 parameters there.
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

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def build_vgg16(image_shape: ImageShape, num_classes: int) -> keras.Model:
    """Build 13 3x3 convolutions in five stages with max-pooling after each, and one dense layer.

    Args:
      image_shape: (H, W, C), with H and W of 16 or more.
      num_classes: K.

    Returns:
      A model from images float32 [N, H, W, C] in [0, 1] to logits float32 [N, K].
    """
    require_min_size("vgg16", image_shape, 16)
    model = keras.Sequential([keras.Input(image_shape)], name="vgg16")
    for filters, convolutions in _STAGES:
        for _ in range(convolutions):
            model.add(layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal"))
            model.add(layers.BatchNormalization())
            model.add(layers.ReLU())
        # With padding, 28x28 shrinks to 1x1 as 32x32 does. Without it, no pixel would remain.
        model.add(layers.MaxPooling2D(2, padding="same"))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(num_classes))
    return model


VGG16 = Architecture(
    "vgg16",
    "VGG16 with batch normalisation, for small images (Simonyan and Zisserman 2015)",
    build_vgg16,
    grey=make_sgd_recipe(240_000, learning_rate=0.05, weight_decay=5e-3),
    color=make_fast_color_recipe(1_160_000),
)
