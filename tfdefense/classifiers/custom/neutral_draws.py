"""Test of a graph whose random draws are replaced by their means: do they change images?

The mean of an augmentation need not leave an image as it is: a zoom of 10 to 30 % has a mean of 20 %,
and a grey scale with probability 0.9 is applied at the mean. All paths from the images to the output
pass through some tensors, one after the other. Between two such tensors, a part of the graph with
draws has to return its input.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.classifiers.custom.graph_pruning import called_functions, node_of, nodes_in_order
from tfdefense.classifiers.custom.random_draws import has_draw

# The values of their outputs do not depend on those of an image.
_SHAPES = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike")
_IMAGES = 4
_SIDE = 32  # Of images if the graph takes any size.
_CHANNELS = 3
_LARGEST_CHANGE = 1e-3  # Relative to the largest value, at least 1.


def has_neutral_draws(
    graph: tf.Graph, feed: str, fetch: str, shape: tuple[int | None, ...] | None
) -> bool:
    """Return whether the means of random numbers leave random images as they are.

    Args:
      graph: a graph that may run, with constants for variables.
      feed: name of its input, "images:0".
      fetch: name of its output.
      shape: of the input, [N, H, W, C] of images; None if it is unknown.
    """
    parts = _random_parts(graph, feed, fetch)
    if not parts:
        return True
    images = graph.get_tensor_by_name(feed)
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0})  # It would reserve a GPU's memory.
    with tf.compat.v1.Session(graph=graph, config=config) as session:
        values = session.run(parts, {images: _noise(shape, images.dtype)})
    return all(_is_same(given, returned) for given, returned in values)


def _random_parts(graph: tf.Graph, feed: str, fetch: str) -> list[tuple[str, str]]:
    """Return the input and the output of each part of a graph in which random numbers are used."""
    definition = graph.as_graph_def()
    functions = {function.signature.name: function for function in definition.library.function}
    images, drawn = {node_of(feed)}, set[str]()  # Names of the nodes that depend on them.
    path = []
    for node in nodes_in_order(definition, fetch):
        inputs = {node_of(name) for name in node.input}
        is_random = _has_draw(node, functions) or bool(inputs & drawn)
        if node.name in images or (inputs & images and node.op not in _SHAPES):
            images.add(node.name)
            path.append((node, is_random))
        elif is_random:
            drawn.add(node.name)
    uses = Counter(_tensor(name) for node, _ in path for name in node.input)
    uses[fetch] += 1
    parts, start, is_part_random, live = list[tuple[str, str]](), feed, False, set[str]()
    for node, is_random in path:
        is_part_random |= is_random
        uses.subtract(_tensor(name) for name in node.input)
        live |= {name for name in uses if node_of(name) == node.name}
        live = {name for name in live if uses[name] > 0}
        if len(live) == 1 and live != {start}:
            (end,) = live
            if graph.get_tensor_by_name(end).dtype.is_floating:  # Not a list of tensors.
                parts += [(start, end)] if is_part_random else []
                start, is_part_random = end, False
    return parts


def _has_draw(node: Any, functions: Mapping[str, Any]) -> bool:
    """Return whether a node, or a function that it calls, draws or drew a random number."""
    return has_draw(node) or any(
        _has_draw(inner, functions)
        for name in called_functions(node)
        if name in functions
        for inner in functions[name].node_def
    )


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _noise(shape: tuple[int | None, ...] | None, dtype: tf.DType) -> np.ndarray:
    """Return random images in [0, 1], of the usual sizes where `shape` has none."""
    known = shape or (None,) * 4
    usual = [_IMAGES, _SIDE, _SIDE, _CHANNELS] if len(known) == 4 else [_IMAGES] * len(known)
    sizes = [size or other for size, other in zip(known, usual, strict=True)]
    return np.random.default_rng(0).random(sizes).astype(dtype.as_numpy_dtype)


def _is_same(given: np.ndarray, returned: np.ndarray) -> bool:
    if given.shape != returned.shape:
        return False
    largest = max(1.0, float(np.abs(given).max()))
    return bool(np.all(np.abs(given - returned) <= _LARGEST_CHANGE * largest))
