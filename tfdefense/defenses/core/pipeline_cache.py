"""Cache of a defence's pipelines, so that attacks are compiled once for each state of the defence.

A compiled attack reads the values of variables when it runs. Training further or loading weights
therefore keeps the state. Everything else becomes part of the compiled attack: which networks and
variables there are, the dtype that layers compute in, numbers and other attributes of the defence.
If one of them is assigned anew, the state is another one. Optimizers and
`Defense.training_attributes` are no part of it. An array that is changed in place is not
noticed: assign a new one.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import keras

from tfdefense.training.nested_layers import collect_nested_layers

# A defence in front of more classifiers than this makes some pipelines again.
_MAX_PIPELINES = 4
_VALUES = (bool, int, float, str, type(None))

Pipeline = TypeVar("Pipeline")


class PipelineCache(Generic[Pipeline]):
    """The pipelines that a defence handed out last, each with the state that it was made in."""

    def __init__(self) -> None:
        self._entries: list[tuple[list[Any], Pipeline]] = []

    def get(self, state: list[Any], make: Callable[[], Pipeline]) -> Pipeline:
        """Return the pipeline of an equal state, or else the result of `make`.

        Args:
          state: result of `pipeline_state`.
          make: makes the pipeline.
        """
        for entry in self._entries:
            if _is_same_state(entry[0], state):
                return entry[1]
        pipeline = make()
        self._entries = [*self._entries[1 - _MAX_PIPELINES :], (state, pipeline)]
        return pipeline

    def __deepcopy__(self, memo: dict[int, Any]) -> "PipelineCache[Pipeline]":
        """Return an empty cache: the copy of a defence makes its own pipelines."""
        return PipelineCache()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as an empty cache."""
        return PipelineCache, ()


_IGNORED_TYPES = (PipelineCache, keras.optimizers.Optimizer)


def pipeline_state(defense: Any, classifier: Any) -> list[Any]:
    """Return the objects and values that a compiled attack on the pipeline depends on.

    Args:
      defense: the defence.
      classifier: the network that decides, a Keras model or any callable.
    """
    networks = [each for each in defense.networks().values() if isinstance(each, keras.Layer)]
    if isinstance(classifier, keras.Layer):
        networks.append(classifier)
    layers = collect_nested_layers(networks)
    policies = [layer.dtype_policy.name for layer in layers]
    variables = [variable for network in networks for variable in network.variables]
    return [classifier, *_attributes(defense), *layers, *policies, *variables]


def _attributes(defense: Any) -> Iterator[Any]:
    """Yield names and values of the attributes of a defence and of its parts."""
    kinds = type(defense).__mro__
    ignored = {name for kind in kinds for name in vars(kind).get("training_attributes", ())}
    for name, value in vars(defense).items():
        if name not in ignored and not isinstance(value, _IGNORED_TYPES):
            yield name
            yield from _flat_values(value)


def _flat_values(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield key
            yield from _flat_values(each)
    elif isinstance(value, list | tuple):
        yield len(value)
        for each in value:
            yield from _flat_values(each)
    else:
        yield value
        if hasattr(value, "deciding_classifier"):  # A part of a composition.
            yield from _attributes(value)


def _is_same_state(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(map(_is_same, first, second))


def _is_same(first: Any, second: Any) -> bool:
    """Return whether two parts of a state are one object, or plain and equal values."""
    return first is second or (
        isinstance(first, _VALUES) and type(first) is type(second) and first == second
    )
