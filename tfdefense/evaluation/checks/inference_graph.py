"""Random numbers and loops of a pipeline at inference, read from its graph."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import tensorflow as tf

from tfdefense.attacks.core.model import Model

_LOOPS = ("While", "StatelessWhile")
# Operations that draw random numbers have names such as "RandomStandardNormal", "RandomShuffle",
# "StatelessTruncatedNormalV2", "StatelessMultinomial", "StatefulUniform" and "RngReadAndSkip".
_RANDOM = ("Random", "Normal", "Multinomial", "Stateful", "Rng")
# They only name a state or a call.
_NOT_RANDOM = ("StatefulPartitionedCall", "StatelessRandomGetKeyCounter", "StatelessRandomGetAlg")


class InferenceGraph(NamedTuple):
    """Operations of a pipeline that an ordinary network does not have.

    Attributes:
      random: types of the operations that draw random numbers, sorted.
      loops: number of loops.
    """

    random: tuple[str, ...]
    loops: int


def inspect_graph(model: Model, image_shape: tuple[int, ...]) -> InferenceGraph:
    """Return what the graph of a model contains, with the functions that it calls.

    Args:
      model: images float32 [N, H, W, C] -> logits [N, K].
      image_shape: (H, W, C).
    """
    function = tf.function(lambda images: model(images), autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec([None, *image_shape], tf.float32))
    types = list(_operation_types(concrete.graph.as_graph_def()))
    random = {name for name in types if any(word in name for word in _RANDOM)}
    return InferenceGraph(
        tuple(sorted(random.difference(_NOT_RANDOM))), sum(name in _LOOPS for name in types)
    )


def _operation_types(graph: tf.compat.v1.GraphDef) -> Iterator[str]:
    groups: list[Iterable] = [graph.node, *(each.node_def for each in graph.library.function)]
    for nodes in groups:
        for node in nodes:
            yield node.op
