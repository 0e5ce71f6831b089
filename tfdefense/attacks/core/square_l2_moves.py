"""Moves of the Square attack in the L2 ball: bumps that collect the perturbation of other windows.

Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a Query-efficient Black-box Adversarial
Attack via Random Search", ECCV 2020, section 4.3 and algorithm 3. As in the published code, every
bump is transposed with probability 1/2.
"""

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms, per_image_random

_TILES = 5
_TINY = 1e-12


def make_bump(side: int) -> np.ndarray:
    """Return the perturbation of a window: a positive and a negative peak, float32 [side, side].

    It is eta of equation (2), divided by its L2 norm. The published code divides each half by its own
    norm; the directions of the two have a cosine above 0.999.
    """
    above = side // 2
    window = np.concatenate([_make_peak(above, side), -_make_peak(side - above, side)])
    return (window / np.linalg.norm(window)).astype(np.float32)


def random_starts(
    keys: tf.Tensor, size: int, side: int | tf.Tensor, stream: int | tf.Tensor
) -> tf.Tensor:
    """Return the first row or column of a random window of each image, int32 [N].

    As in the published code it is below `size - side`, so that a window that is smaller than the
    image never covers the last row or column. Algorithms 2 and 3 of the paper allow that.

    Args:
      keys: result of `image_keys`.
      size: number of rows or columns of the image.
      side: number of rows or columns of the window.
      stream: see `per_image_random.uniform`.
    """
    return per_image_random.integers(keys, tf.maximum(size - side, 1), stream)


def add_initial_bumps(keys: tf.Tensor, images: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Return images with a grid of bumps of random sign in each channel, float32 [N, H, W, C]."""
    height, width, channels = images.shape[1:]
    side = min(height, width) // _TILES
    bump = make_bump(side)
    tile = np.full([height, width], -1)
    upright, transposed = np.zeros([2, height, width], np.float32)
    first_row, first_column = (height % side) // 2, (width % side) // 2
    for row in range(height // side):
        for column in range(width // side):
            top, left = first_row + row * side, first_column + column * side
            place = slice(top, top + side), slice(left, left + side)
            upright[place], transposed[place] = bump, bump.T
            tile[place] = row * (width // side) + column
    # A sign for each tile and channel, and one for each tile that says if it is transposed.
    signs = per_image_random.signs(keys, [int(tile.max()) + 1, channels + 1], 0)
    signs = tf.gather(signs, np.maximum(tile, 0), axis=1)
    pattern = tf.where(signs[..., -1] < 0, transposed, upright)
    return _add_scaled(images, pattern[..., None] * signs[..., :-1], epsilon)


class WindowMoves:
    """Moves of all queries, between windows of odd side.

    Args:
      sides: side of the window of each query in pixels, int [queries]; it is made odd.
      largest: largest side that fits into the image.
    """

    def __init__(self, sides: np.ndarray, largest: int) -> None:
        odd = np.maximum(sides, 3) // 2 * 2 + 1
        odd = np.minimum(odd, largest)
        distinct, table_of_query = np.unique(odd, return_inverse=True)
        self._table_side = int(distinct.max())
        bumps = np.zeros([len(distinct), self._table_side, self._table_side], np.float32)
        for bump, side in zip(bumps, distinct, strict=True):
            bump[:side, :side] = make_bump(side)
        self._bumps = bumps
        self._table_of_query = table_of_query.astype(np.int32)
        self._sides = odd.astype(np.int32)

    def candidates(
        self,
        keys: tf.Tensor,
        images: tf.Tensor,
        best: tf.Tensor,
        epsilon: tf.Tensor,
        query: tf.Tensor,
    ) -> tf.Tensor:
        """Return the images that a query tries, float32 [N, H, W, C].

        Args:
          keys: result of `image_keys`.
          images: clean images.
          best: best images so far.
          epsilon: radii, float32 [N, 1, 1, 1].
          query: index of the query.
        """
        side = tf.constant(self._sides)[query]
        bump = tf.constant(self._bumps)[tf.constant(self._table_of_query)[query]]
        stream = 1 + 8 * query
        perturbation = best - images
        gaining, new = self._random_window(keys, images, side, bump, stream)
        losing, _ = self._random_window(keys, images, side, bump, stream + 4)
        old = gaining * perturbation
        new += old / (_channel_norms(old) + _TINY)
        used = tf.square(norms.expand_per_image(norms.l2(perturbation)))
        unused = tf.maximum(tf.square(epsilon) - used, 0.0)
        within = _channel_norms(tf.maximum(gaining, losing) * perturbation)
        budget = tf.sqrt(unused / images.shape[3] + tf.square(within))
        moved = gaining * budget * new / (_channel_norms(new) + _TINY)
        kept = perturbation * (1 - gaining) * (1 - losing)
        return _add_scaled(images, kept + moved, epsilon)

    def _random_window(
        self,
        keys: tf.Tensor,
        images: tf.Tensor,
        side: tf.Tensor,
        bump: tf.Tensor,
        stream: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return a random window of each image as mask [N, H, W, 1], and its bump [N, H, W, C]."""
        height, width, channels = images.shape[1:]

        def offsets(size: int, stream: tf.Tensor) -> tf.Tensor:
            first = random_starts(keys, size, side, stream)
            return tf.range(size)[None] - first[:, None]

        row, column = offsets(height, stream)[:, :, None], offsets(width, stream + 1)[:, None]
        inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
        is_transposed = (per_image_random.uniform(keys, [], stream + 2) < 0.5)[:, None, None]
        place = tf.where(
            is_transposed, column * self._table_side + row, row * self._table_side + column
        )
        heights = tf.gather(tf.reshape(bump, [-1]), tf.where(inside, place, 0))
        window = tf.cast(inside, tf.float32)[..., None]
        signs = per_image_random.signs(keys, [1, 1, channels], stream + 3)
        return window, window * heights[..., None] * signs


def _make_peak(rows: int, columns: int) -> np.ndarray:
    """Return rings around the middle; ring d has the height sum_{k >= d} 1 / (k + 1)^2."""
    r, c = np.arange(rows)[:, None], np.arange(columns)[None]
    ring = np.maximum(np.abs(r - rows // 2), np.abs(c - columns // 2))
    steps = 1.0 / np.arange(1, max(rows // 2, columns // 2) + 2) ** 2
    return np.cumsum(steps[::-1])[::-1][ring]


def _channel_norms(perturbation: tf.Tensor) -> tf.Tensor:
    """Return the L2 norm of each channel, float32 [N, 1, 1, C]."""
    return tf.sqrt(tf.reduce_sum(tf.square(perturbation), axis=(1, 2), keepdims=True))


def _add_scaled(images: tf.Tensor, perturbation: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Return `images` plus the perturbation scaled to L2 norm epsilon, clipped to [0, 1]."""
    length = tf.maximum(norms.expand_per_image(norms.l2(perturbation)), _TINY)
    return tf.clip_by_value(images + epsilon * perturbation / length, 0.0, 1.0)
