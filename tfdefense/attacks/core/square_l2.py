"""What the Square attack tries in the L2 ball: bumps that gather the change of other windows.

Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a Query-efficient Black-box Adversarial
Attack via Random Search", ECCV 2020, section 4.3 and algorithm 3.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random

_TILES = 5
_TINY = 1e-12


def bump(side: int) -> np.ndarray:
    """The change of one window: a peak beside a trough, of length 1; float32 [side, side]."""
    above = side // 2
    window = np.concatenate([_peak(above, side), -_peak(side - above, side)])
    return (window / np.linalg.norm(window)).astype(np.float32)


def start(keys: tf.Tensor, images: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Images with five rows of bumps, of random signs in each channel: [N, H, W, C]."""
    height, width, channels = images.shape[1:]
    side = min(height, width) // _TILES
    tile = np.full([height, width], -1)
    pattern = np.zeros([height, width], np.float32)
    first_row, first_column = (height % side) // 2, (width % side) // 2
    for row in range(height // side):
        for column in range(width // side):
            top, left = first_row + row * side, first_column + column * side
            pattern[top : top + side, left : left + side] = bump(side)
            tile[top : top + side, left : left + side] = row * (width // side) + column
    signs = per_image_random.signs(keys, [int(tile.max()) + 1, channels], 0)
    change = pattern[None, ..., None] * tf.gather(signs, np.maximum(tile, 0), axis=1)
    return _on_sphere(images, change, epsilon)


class Windows:
    """The windows of all queries: odd sides, and their bumps.

    Args:
      sides: side of each query's window, in pixels, before it is made odd.
      most: the largest that fits the image.
    """

    def __init__(self, sides: Sequence[int], most: int) -> None:
        odd = np.maximum(sides, 3) // 2 * 2 + 1
        odd = np.minimum(odd, most)
        distinct, which = np.unique(odd, return_inverse=True)
        self._largest = int(distinct.max())
        tables = np.zeros([len(distinct), self._largest, self._largest], np.float32)
        for table, side in zip(tables, distinct, strict=True):
            table[:side, :side] = bump(side)
        self._tables = tables
        self._which = which.astype(np.int32)
        self._sides = odd.astype(np.int32)

    def candidates(
        self,
        keys: tf.Tensor,
        images: tf.Tensor,
        best: tf.Tensor,
        epsilon: tf.Tensor,
        query: tf.Tensor,
    ) -> tf.Tensor:
        """The images that query number `query` tries, given the best so far: [N, H, W, C]."""
        side = tf.constant(self._sides)[query]
        table = tf.constant(self._tables)[tf.constant(self._which)[query]]
        stream = 1 + 8 * query
        change = best - images
        gaining, new = self._bump_at(keys, images, side, table, stream)
        losing, _ = self._bump_at(keys, images, side, table, stream + 4)
        old = gaining * change
        new += old / (_size(old) + _TINY)
        unused = tf.maximum(tf.square(epsilon) - tf.square(norms.expand_per_image(norms.l2(change))), 0.0)
        within = _size(tf.maximum(gaining, losing) * change)
        reach = tf.sqrt(unused / images.shape[3] + tf.square(within))
        moved = gaining * reach * new / (_size(new) + _TINY)
        return _on_sphere(images, change * (1 - gaining) * (1 - losing) + moved, epsilon)

    def _bump_at(
        self,
        keys: tf.Tensor,
        images: tf.Tensor,
        side: tf.Tensor,
        table: tf.Tensor,
        stream: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """A window at a random place of each image: where it is [N, H, W, 1], its bump [N, H, W, C]."""
        height, width, channels = images.shape[1:]

        def offsets(size: int, stream: tf.Tensor) -> tf.Tensor:
            first = per_image_random.integers(keys, size - side + 1, stream)
            return tf.range(size)[None] - first[:, None]

        row, column = offsets(height, stream)[:, :, None], offsets(width, stream + 1)[:, None]
        inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
        turned = (per_image_random.uniform(keys, [], stream + 2) < 0.5)[:, None, None]
        place = tf.where(turned, column * self._largest + row, row * self._largest + column)
        heights = tf.gather(tf.reshape(table, [-1]), tf.where(inside, place, 0))
        window = tf.cast(inside, tf.float32)[..., None]
        return window, window * heights[..., None] * per_image_random.signs(
            keys, [1, 1, channels], stream + 3
        )


def _peak(rows: int, columns: int) -> np.ndarray:
    """Rings around the middle, the ring d away being sum_{k >= d} 1 / (k + 1)^2 high."""
    r, c = np.arange(rows)[:, None], np.arange(columns)[None]
    ring = np.maximum(np.abs(r - rows // 2), np.abs(c - columns // 2))
    steps = 1.0 / np.arange(1, max(rows // 2, columns // 2) + 2) ** 2
    return np.cumsum(steps[::-1])[::-1][ring]


def _size(change: tf.Tensor) -> tf.Tensor:
    """Length in each channel: float32 [N, 1, 1, C]."""
    return tf.sqrt(tf.reduce_sum(tf.square(change), axis=(1, 2), keepdims=True))


def _on_sphere(images: tf.Tensor, change: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    length = tf.maximum(norms.expand_per_image(norms.l2(change)), _TINY)
    return tf.clip_by_value(images + epsilon * change / length, 0.0, 1.0)
