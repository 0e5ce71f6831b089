"""Warning of images that are nearly black, usually because their values were scaled wrongly."""

import numpy as np

from tfdefense.data.core.disk_array import DiskArray
from tfdefense.utils.progress import print_once

IMAGES_LOOKED_AT = 100
# 12 bits that are read as 16 bits, or divided by 255 twice, have values up to 16 of 255.
_NEARLY_BLACK = 16


def report_nearly_black(images: np.ndarray | DiskArray, name: str, advice: str) -> None:
    """Print a line if the first images are nearly black. Entirely black ones are not reported.

    Args:
      images: float32 [N, H, W, C] in [0, 1], of which the first `IMAGES_LOOKED_AT` are read.
      name: start of the line.
      advice: end of the line.
    """
    rows = range(min(len(images), IMAGES_LOOKED_AT))
    brightest = 255 * max(float(np.max(images[row])) for row in rows)
    if 0 < brightest < _NEARLY_BLACK + 0.5:
        print_once(
            f"{name}: images are nearly black: no value of the first {IMAGES_LOOKED_AT} is above"
            f" {brightest:.2g} of 255. {advice}"
        )
