"""Number of images in a batch, by the size of the images."""

import math

# 16 colour images of 224x224. EfficientNet-Lite0 computes gradients of 16 of them at a time faster
# than of 100 on a CPU, in an eighth of the memory. The number is the same on every device, because
# the settings of a training and the files of an attack depend on it.
_MAX_VALUES = 16 * 224 * 224 * 3


def fitting_batch_size(image_shape: tuple[int, ...], largest: int) -> int:
    """Return the number of images in a batch: `largest`, or fewer if the images are large.

    Args:
      image_shape: (H, W, C).
      largest: upper limit, at least 1.
    """
    return max(1, min(largest, _MAX_VALUES // math.prod(image_shape)))
