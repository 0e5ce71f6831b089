"""U-Net with residual blocks: the generator of robust purifiers for colour images."""

from typing import Any

import keras
import tensorflow as tf

from tfdefense.networks.activations import silu
from tfdefense.networks.padding import BatchShape, pad_to_multiple, padded_shape
from tfdefense.networks.upcast import upcast_bfloat16


class Gain(keras.layers.Layer):
    """Multiplication by one learned number, at first 0.

    A residual block that begins as the identity can be trained without normalization (De and Smith,
    "Batch Normalization Biases Residual Blocks Towards the Identity Function in Deep Networks",
    NeurIPS 2020, section 4: SkipInit).
    """

    def build(self, input_shape: BatchShape) -> None:
        del input_shape
        self.gain = self.add_weight(shape=(1,), initializer="zeros", name="gain")
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        return features * tf.cast(self.gain, features.dtype)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape


class ResidualBlock(keras.layers.Layer):
    """x + gain * conv(silu(conv(silu(x)))), with 3x3 convolutions that keep the shape.

    The order is that of He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", ECCV
    2016, figure 4(e). SiLU, because a smooth network has better gradients for adversarial training
    (Xie et al., "Smooth Adversarial Training", 2020).
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convolutions = [_convolution(filters, 3) for _ in range(2)]
        self.gain = Gain()

    def build(self, input_shape: BatchShape) -> None:
        for layer in (*self.convolutions, self.gain):
            layer.build(input_shape)
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        residual = features
        for convolution in self.convolutions:
            residual = convolution(silu(residual))
        return features + self.gain(residual)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape


@keras.saving.register_keras_serializable("tfdefense")
class ResidualUNet(keras.Model):
    """Purifier with a residual network as its encoder and a small decoder.

    Encoder: a 3x3 convolution; at each further level, a 3x3 convolution with stride 2; at every
    level, residual blocks. Decoder: at each level, a transposed 4x4 convolution with stride 2, whose
    output a 1x1 convolution joins with the encoder's features of the same size; at the end, a 3x3
    convolution and a sigmoid. SiLU is between the convolutions.

    The encoder has most of the weights, because the frozen classifier sees only what the encoder
    recognised. There is no batch normalization, because its statistics would tell adversarial
    batches from clean ones.

    Call: `images` float32 [N, H, W, C] in [0, 1] -> float32 [N, H, W, C] in [0, 1]. Any H and W:
    images are padded inside and cropped again.

    Args:
      channels: C, the number of image channels.
      filters: the number of filters of each level, from the full size down.
      blocks: the number of residual blocks of each level.
    """

    def __init__(
        self,
        channels: int = 3,
        filters: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (0, 1, 1, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.filters, self.blocks = tuple(filters), tuple(blocks)
        self.first = _convolution(self.filters[0], 3)
        self.down = [_convolution(count, 3, strides=2) for count in self.filters[1:]]
        self.residual = [
            [ResidualBlock(count) for _ in range(depth)]
            for count, depth in zip(self.filters, self.blocks, strict=True)
        ]
        self.up = [
            keras.layers.Conv2DTranspose(
                count, 4, 2, padding="same", kernel_initializer="he_normal"
            )
            for count in reversed(self.filters[:-1])
        ]
        self.join = [_convolution(count, 1) for count in reversed(self.filters[:-1])]
        self.last = keras.layers.Conv2D(channels, 3, padding="same")

    def build(self, input_shape: BatchShape) -> None:
        shape = padded_shape(input_shape, 2 ** len(self.down))
        shapes = []
        for layer, blocks in zip((self.first, *self.down), self.residual, strict=True):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            for block in blocks:
                block.build(shape)
            shapes.append(shape)
        for up, join, skip_shape in zip(self.up, self.join, reversed(shapes[:-1]), strict=True):
            up.build(shape)
            shape = skip_shape
            join.build((*shape[:-1], 2 * shape[-1]))
        self.last.build(shape)
        self.built = True

    def call(self, images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        del training
        return self.purify_and_encode(images)[0]

    def purify_and_encode(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return purified images and their deepest features.

        Args:
          images: float32 [N, H, W, C] in [0, 1].

        Returns:
          float32 [N, H, W, C] in [0, 1], and float32 [N, F]: the mean over all places of the
          features of the smallest level.
        """
        height, width = images.shape[1:3]
        hidden = self.first(pad_to_multiple(images, 2 ** len(self.down)))
        activated: list[tf.Tensor] = []
        for level, blocks in enumerate(self.residual):
            if level:
                hidden = self.down[level - 1](activated[-1])
            for block in blocks:
                hidden = block(hidden)
            activated.append(silu(hidden))
        hidden = activated[-1]
        deepest = tf.reduce_mean(upcast_bfloat16(hidden), axis=[1, 2])
        for up, join, skip in zip(self.up, self.join, reversed(activated[:-1]), strict=True):
            hidden = silu(_convolve_both(join, silu(up(hidden)), skip))
        purified = tf.sigmoid(upcast_bfloat16(self.last(hidden)))
        return purified[:, :height, :width, :], deepest

    def get_config(self) -> dict[str, Any]:
        sizes = {"channels": self.channels, "filters": self.filters, "blocks": self.blocks}
        return {**super().get_config(), **sizes}


def _convolution(filters: int, size: int, strides: int = 1) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        filters, size, strides, padding="same", kernel_initializer="he_normal"
    )


def _convolve_both(
    convolution: keras.layers.Conv2D, decoded: tf.Tensor, skip: tf.Tensor
) -> tf.Tensor:
    """Return the 1x1 convolution of two concatenated tensors without the copy, which takes time."""
    kernels = tf.split(tf.cast(convolution.kernel, decoded.dtype), 2, axis=2)
    bias = tf.cast(convolution.bias, decoded.dtype)
    joined = tf.nn.bias_add(tf.nn.conv2d(decoded, kernels[0], 1, "VALID"), bias)
    return joined + tf.nn.conv2d(skip, kernels[1], 1, "VALID")
