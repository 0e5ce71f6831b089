"""Changes to the configuration of Keras 3 models before they are read."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from tfdefense.classifiers.custom.tensorflow_function import index_spec, layer_config
from tfdefense.training.keras_archive import rewrite_config


def name_operations(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration in which Keras' own operations have their modules.

    `.h5` files store the class of an operation on tensors (`GetItem`, `Stack`, `Add`) without its
    module, so that Keras looks for it among its layers, and finds none or the layer of that name.
    `GetItem` becomes a `TensorFlowFunction`, because Keras does not read an ellipsis in `.h5` files.
    """
    operations = {kind.__name__: kind for kind in _operations(keras.Operation)}

    def name_operation(part: dict[str, Any]) -> dict[str, Any]:
        kind = operations.get(str(part.get("class_name")))
        if not (kind and "inbound_nodes" in part and "module" not in part and _is_operation(part)):
            return part
        if kind.__name__ == "GetItem":
            nodes = [_index_node(node) for node in part["inbound_nodes"]]
            return layer_config("__operators__.getitem", part["name"], nodes)
        return {**part, "module": kind.__module__, "registered_name": kind.__name__}

    named: dict[str, Any] = rewrite_config(config, name_operation)
    return named


def _index_node(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call of `GetItem(tensor, indices)` as one of `TensorFlowFunction`."""
    arguments: list[Any] = [*node["args"], *node["kwargs"].values()]
    tensor, indices = arguments
    return {"args": [tensor], "kwargs": {"slice_spec": index_spec(indices)}}


def _operations(base: Any) -> Iterator[Any]:
    """Return Keras' classes of operations on tensors, without layers."""
    for kind in base.__subclasses__():
        if issubclass(kind, keras.layers.Layer):
            continue
        if kind.__module__.startswith("keras."):
            yield kind
        yield from _operations(kind)


def _is_operation(layer: Mapping[str, Any]) -> bool:
    """Return whether a configuration is of an operation: every layer but the first has a dtype."""
    config = layer.get("config")
    return isinstance(config, Mapping) and not {"dtype", "trainable", "layers"} & config.keys()


def name_layers_with_axes(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration in which layers with several axes have their module.

    From a layer of an `.h5` file without a module, Keras drops `axis` if it is a list of several
    numbers, so that a Softmax would work on the last axis.
    """

    def name_layer(part: dict[str, Any]) -> dict[str, Any]:
        inner = part.get("config")
        axis = inner.get("axis") if isinstance(inner, Mapping) else None
        is_layer = hasattr(keras.layers, str(part.get("class_name"))) and "module" not in part
        if not (is_layer and isinstance(axis, list) and len(axis) > 1):
            return part
        return {**part, "module": "keras.layers", "registered_name": None}

    named: dict[str, Any] = rewrite_config(config, name_layer)
    return named


def config_in_float32(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration whose layers of float16 or bfloat16 compute in float32.

    Weights keep their values. In float16 small gradients are 0 and bfloat16 rounds values to 8 bits,
    which would make attacks weak.
    """

    def widen(part: dict[str, Any]) -> dict[str, Any]:
        short = {key for key in ("dtype", "dtype_policy") if _is_sixteen_bit(part.get(key))}
        return {**part, **dict.fromkeys(short, "float32")}

    widened: dict[str, Any] = rewrite_config(config, widen)
    return widened


def _is_sixteen_bit(dtype: Any) -> bool:
    if isinstance(dtype, Mapping):
        inner = dtype.get("config")
        dtype = inner.get("name") if isinstance(inner, Mapping) else None
    return dtype in ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
