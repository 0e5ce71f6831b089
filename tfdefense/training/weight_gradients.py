"""Weight gradients of convolutions as one matrix product, in the steps of a bfloat16 training.

The CPU kernel for the weight gradient of a convolution in bfloat16 is slow on small images: 31 to 150
GFLOP/s on 2x2 to 14x14. The same gradient as one product of the patches under the kernel with the
gradient of the outputs reaches 200 to 330 (`benchmarks/weight_gradients.py`). Layers change only
inside `use_patch_products`, so a saved network has plain Keras layers.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfdefense.training.nested_layers import collect_nested_layers, replace_calls

_MAX_PIXELS = 64  # H x W of the smaller of input and output. With more, the kernel is as fast.
_MIN_CHANNELS = 64  # Fewer make small matrices.
_IMAGES_RANK = 4


class Window(NamedTuple):
    """Geometry of a convolution: kernel, strides and padding.

    Attributes:
      kernel: (height, width) of the kernel.
      strides: steps of the kernel, down and to the right.
      padding: "VALID" or "SAME".
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: str

    def padding_of(self, axis: int, pixels: int) -> tuple[int, int]:
        """Return the number of zeros before and after an axis of the image."""
        if self.padding == "VALID":
            return 0, 0
        kernel, stride = self.kernel[axis], self.strides[axis]
        total = max((-(-pixels // stride) - 1) * stride + kernel - pixels, 0)
        return total // 2, total - total // 2


@contextlib.contextmanager
def use_patch_products(networks: Iterable[keras.Layer]) -> Iterator[None]:
    """Compute weight gradients as matrix products in everything that is traced inside.

    This applies to convolutions and transposed convolutions that compute in bfloat16 on a CPU, where
    the smaller of input and output has at most 64 pixels, and both have at least 64 channels.
    Gradients equal those of TensorFlow up to rounding, and so do gradients of gradients by the images.
    All other layers, subclasses, groups and dilations stay unchanged.
    """
    if tf.config.list_logical_devices("GPU"):  # Its kernels are fast.
        networks = ()
    layers = [layer for layer in collect_nested_layers(networks) if _is_plain(layer)]
    with replace_calls(layers, _call):
        yield


def convolve(
    images: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None, window: Window
) -> tf.Tensor:
    """Return a convolution [N, h, w, F] whose gradient by the kernel is one matrix product.

    Args:
      images: [N, H, W, C]; H, W and C are static.
      kernel: [kernel height, kernel width, C, F].
      bias: [F], or None.
      window: geometry of the convolution.
    """

    @tf.custom_gradient
    def compute(images: tf.Tensor, kernel: tf.Tensor, *bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor | tf.IndexedSlices) -> tuple[tf.Tensor, ...]:
            upstream = tf.convert_to_tensor(upstream)
            by_images = convolve_transposed(upstream, kernel, None, images.shape[1:3], window)
            by_kernel = weight_gradient(images, upstream, window)
            return by_images, by_kernel, *(_sum_pixels(upstream) for _ in bias)

        outputs = tf.nn.conv2d(images, kernel, window.strides, window.padding)
        return _add_bias(outputs, *bias), gradient

    return compute(images, kernel, *([] if bias is None else [bias]))


def convolve_transposed(
    outputs: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor | None,
    image_size: tuple[int, int],
    window: Window,
) -> tf.Tensor:
    """Return a transposed convolution whose gradient by the kernel is one matrix product.

    Args:
      outputs: [N, h, w, F]; the size is that of the convolution of the images.
      kernel: [kernel height, kernel width, C, F].
      bias: [C], or None.
      image_size: (H, W) of the returned images [N, H, W, C].
      window: geometry of the convolution.
    """

    @tf.custom_gradient
    def compute(outputs: tf.Tensor, kernel: tf.Tensor, *bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor | tf.IndexedSlices) -> tuple[tf.Tensor, ...]:
            upstream = tf.convert_to_tensor(upstream)
            by_kernel = weight_gradient(upstream, outputs, window)
            by_outputs = convolve(upstream, kernel, None, window)
            return by_outputs, by_kernel, *(_sum_pixels(upstream) for _ in bias)

        shape = [tf.shape(outputs)[0], *image_size, kernel.shape[2]]
        images = tf.nn.conv2d_transpose(outputs, kernel, shape, window.strides, window.padding)
        images = tf.ensure_shape(images, [outputs.shape[0], *shape[1:]])
        return _add_bias(images, *bias), gradient

    return compute(outputs, kernel, *([] if bias is None else [bias]))


def _add_bias(images: tf.Tensor, *bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(images, *bias) if bias else images


def _sum_pixels(images: tf.Tensor) -> tf.Tensor:
    """Return the sum [C] over all pixels."""
    # A product, because the reduction uses one core.
    pixels = tf.reshape(images, [-1, images.shape[-1]])
    return tf.reshape(tf.matmul(tf.ones([1, tf.shape(pixels)[0]], images.dtype), pixels), [-1])


def weight_gradient(images: tf.Tensor, upstream: tf.Tensor, window: Window) -> tf.Tensor:
    """Return the gradient [kernel height, kernel width, C, F] of a convolution by its kernel.

    Args:
      images: inputs of the convolution, [N, H, W, C].
      upstream: gradient by its outputs, [N, h, w, F].
      window: geometry of the convolution.
    """
    channels, filters = images.shape[-1], upstream.shape[-1]
    # Without the dependency, the forward pass makes the patches, and they stay in memory.
    with tf.control_dependencies([upstream]):
        images = tf.identity(images)
    patches = tf.reshape(_patches(images, window), [-1, math.prod(window.kernel) * channels])
    product = tf.matmul(patches, tf.reshape(upstream, [-1, filters]), transpose_a=True)
    return tf.reshape(product, [*window.kernel, channels, filters])


def _patches(images: tf.Tensor, window: Window) -> tf.Tensor:
    """Return the pixels under the kernel, [N, outputs * kernel height * kernel width, C]."""
    zeros = [window.padding_of(axis, images.shape[1 + axis]) for axis in (0, 1)]
    padded = tf.pad(images, [(0, 0), *zeros, (0, 0)])
    size = padded.shape[1:3]
    rows, columns = (
        np.add.outer(
            np.arange(0, size[axis] - window.kernel[axis] + 1, window.strides[axis]),
            np.arange(window.kernel[axis]),
        )
        for axis in (0, 1)
    )
    pixels = rows[:, None, :, None] * size[1] + columns[None, :, None, :]
    # `tf.image.extract_patches` copies single values; this copies all channels of a pixel at once.
    return tf.gather(
        tf.reshape(padded, [-1, size[0] * size[1], images.shape[-1]]), pixels.reshape(-1), axis=1
    )


def _is_plain(layer: Any) -> bool:
    # Not subclasses, which may have other rules.
    if type(layer) is keras.layers.Conv2D:
        is_plain = layer.groups == 1
    elif type(layer) is keras.layers.Conv2DTranspose:
        is_plain = layer.padding == "same" and layer.output_padding is None
    else:
        return False
    is_usual = layer.data_format == "channels_last" and tuple(layer.dilation_rate) == (1, 1)
    return is_plain and is_usual and layer.kernel_size != (1, 1)


def _call(layer: Any, inputs: tf.Tensor) -> tf.Tensor:
    if not _is_faster(layer, inputs):
        return type(layer).call(layer, inputs)
    window = Window(layer.kernel_size, layer.strides, layer.padding.upper())
    kernel = tf.convert_to_tensor(layer.kernel)
    bias = tf.convert_to_tensor(layer.bias) if layer.use_bias else None
    if isinstance(layer, keras.layers.Conv2DTranspose):
        size = layer.compute_output_shape(inputs.shape)[1:3]
        outputs = convolve_transposed(inputs, kernel, bias, size, window)
    else:
        outputs = convolve(inputs, kernel, bias, window)
    return outputs if layer.activation is None else layer.activation(outputs)


def _is_faster(layer: Any, inputs: tf.Tensor) -> bool:
    """Return True if the matrix product is faster than the CPU kernel for the weight gradient."""
    if layer.compute_dtype != "bfloat16" or len(inputs.shape) != _IMAGES_RANK:
        return False
    if None in inputs.shape[1:]:
        return False
    outputs = layer.compute_output_shape(inputs.shape)
    pixels = min(math.prod(shape[1:3]) for shape in (inputs.shape, outputs))
    return pixels <= _MAX_PIXELS and min(inputs.shape[-1], outputs[-1]) >= _MIN_CHANNELS
