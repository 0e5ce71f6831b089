"""Translation of the configuration of a model that Keras 2 wrote to one that Keras 3 reads."""

from collections.abc import Collection, Mapping
from typing import Any

import keras

from tfdefense.classifiers.custom.keras2_activations import keep_activations
from tfdefense.classifiers.custom.keras2_functions import (
    function_call,
    has_tensor_keywords,
    is_function_layer,
    keyword_call,
)
from tfdefense.training.keras_archive import known_arguments

_MODELS = ("Functional", "Model", "Sequential")
# These layers return their input in inference mode. Some are missing in Keras 3, and the random
# state of the others is stored in another way.
_IDENTITY_IN_INFERENCE = frozenset(
    [
        "AlphaDropout",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "RandomBrightness",
        "RandomContrast",
        "RandomFlip",
        "RandomHeight",
        "RandomRotation",
        "RandomTranslation",
        "RandomWidth",
        "RandomZoom",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
    ]
)
# Layers that Keras 3 computes with another class. A `.keras` file names weights by class, so a layer
# with weights can be replaced only in `.h5` files.
_REPLACED = {"ThresholdedReLU": "ReLU"}
_REPLACED_IN_H5 = {**_REPLACED, "SyncBatchNormalization": "BatchNormalization"}
_RENAMED = {
    "LeakyReLU": {"alpha": "negative_slope"},
    "InputLayer": {"batch_input_shape": "batch_shape"},
    "ReLU": {"theta": "threshold"},
}
# Arguments that choose how a layer computes, trains or stores, not what it returns in inference mode.
_WITHOUT_EFFECT = frozenset(
    [
        "adjustment",
        "batch_input_shape",
        "fused",
        "implementation",
        "key_shape",
        "query_shape",
        "ragged",
        "renorm",
        "renorm_clipping",
        "renorm_momentum",
        "rng_type",
        "sparse",
        "value_shape",
        "virtual_batch_size",
    ]
)
_TRAINING_SUFFIXES = ("_initializer", "_regularizer", "_constraint")


class UnknownConfigError(ValueError):
    """A configuration that has no counterpart in Keras 3; the text says which part."""


def translate_keras2_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the same model for Keras 3, in inference mode.

    Arguments that Keras 3 does not know are dropped if they have no effect, arithmetic on tensors
    becomes `TensorFlowFunction`, layers that only act in training become `Identity`, and activations
    keep the functions that they had in Keras 2.

    Args:
      config: with "class_name" and "config", as in the attribute `model_config` of an `.h5` file and
        in the `config.json` of a `.keras` file.

    Raises:
      UnknownConfigError: a layer or an argument without a counterpart.
    """
    return keep_activations(_translate_layer(config))


def _translate_layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    name, config = str(layer.get("class_name")), layer.get("config") or {}
    layer = {key: value for key, value in layer.items() if key != "build_config"}
    if name in _MODELS:
        return _translate_model(layer, name, config)
    if is_function_layer(name):
        return function_call(layer)
    if name in _IDENTITY_IN_INFERENCE:
        config = {"name": config["name"]}
        name = "Identity"
    if name == "RandomCrop":  # In inference mode it resizes; that of Keras 3 returns its input.
        config = {key: config[key] for key in ("name", "height", "width")}
        name, config = "Resizing", {**config, "crop_to_aspect_ratio": True}
    name = (_REPLACED if "module" in layer else _REPLACED_IN_H5).get(name, name)
    kind = getattr(keras.layers, name, None)
    if not isinstance(kind, type):
        raise UnknownConfigError(f"its layer {name} is not part of Keras 3")
    is_code = kind is keras.layers.Lambda  # Keras 3 itself reads the code, or refuses it.
    arguments = _code_arguments(layer) if is_code else _translate_arguments(kind, config)
    translated = {**layer, "class_name": name, "config": arguments}
    if any(map(has_tensor_keywords, layer.get("inbound_nodes", []))):
        translated["inbound_nodes"] = [keyword_call(node) for node in layer["inbound_nodes"]]
    if "module" in layer:
        translated |= {"module": "keras.layers", "registered_name": None}
    return translated


def _translate_model(layer: Mapping[str, Any], name: str, config: Any) -> dict[str, Any]:
    if name == "Sequential":
        if isinstance(config, list):  # Keras 2.0 to 2.2.2.
            config = {"name": layer.get("name", "sequential"), "layers": config}
        layers = [_translate_layer(inner) for inner in _with_input_layer(config["layers"])]
        config = {"name": config.get("name"), "layers": layers}
    else:
        nested = {
            each["name"]: each["class_name"]
            for each in config["layers"]
            if each["class_name"] in _MODELS
        }
        layers = [_renumber_inputs(_translate_layer(inner), nested) for inner in config["layers"]]
        # Keras 3 itself counts from 1 here for models of the class Functional.
        counted = [name for name, kind in nested.items() if kind == "Sequential"]
        config = {
            **config,
            "layers": layers,
            "input_layers": _unpacked(config["input_layers"]),
            "output_layers": _unpacked(_renumber(config["output_layers"], counted)),
        }
    translated = {**layer, "class_name": name, "config": config}
    if "module" in layer:
        is_graph = name != "Sequential"
        translated |= {
            "module": "keras.src.models.functional" if is_graph else "keras",
            "class_name": "Functional" if is_graph else name,
            "registered_name": "Functional" if is_graph else None,
        }
    return translated


def _unpacked(tensors: Any) -> Any:
    """Return the only tensor of a list; Keras 2 always stores a list, Keras 3 the given structure."""
    is_single = isinstance(tensors, list) and len(tensors) == 1 and isinstance(tensors[0], list)
    return tensors[0] if is_single else tensors


def _with_input_layer(layers: list[Any]) -> list[Any]:
    """Return the layers of a Sequential with the InputLayer that old versions left out."""
    first = layers[0] if layers else {}
    shape = first.get("config", {}).get("batch_input_shape")
    if first.get("class_name") == "InputLayer" or shape is None:
        return layers
    dtype = first["config"].get("dtype", "float32")
    config = {"batch_shape": shape, "dtype": dtype, "name": "input"}
    return [{"class_name": "InputLayer", "config": config}, *layers]


def _renumber_inputs(layer: dict[str, Any], nested: Collection[str]) -> dict[str, Any]:
    return {**layer, "inbound_nodes": _renumber(layer.get("inbound_nodes", []), nested)}


def _renumber(value: Any, nested: Collection[str]) -> Any:
    """Count the calls of nested models from 0; Keras 2 counts their construction as the first."""
    if isinstance(value, list):
        if _is_reference(value) and value[0] in nested:
            return [value[0], value[1] - 1, *value[2:]]
        return [_renumber(each, nested) for each in value]
    if isinstance(value, dict):
        return {key: _renumber(each, nested) for key, each in value.items()}
    return value


def _is_reference(value: list[Any]) -> bool:
    return (
        len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(isinstance(index, int) for index in value[1:3])
    )


def _translate_arguments(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a layer of Keras 3 with the meaning of those of Keras 2."""
    renamed = _RENAMED.get(kind.__name__, {})
    known = known_arguments(kind)
    found = {}
    for given, value in config.items():
        name = renamed.get(given, given)
        if (
            isinstance(value, Mapping)
            and "class_name" in value
            and name in ("layer", "backward_layer")
        ):
            value = _translate_layer(value)
        if name == "axis" and kind is keras.layers.BatchNormalization and isinstance(value, list):
            (value,) = value
        if name in known:
            found[name] = value
        elif not _has_no_effect(name, value):
            raise UnknownConfigError(
                f"its layer {config.get('name')} ({kind.__name__}) has {given}={value!r}, which Keras 3"
                " does not know"
            )
    return found


def _code_arguments(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a Lambda layer, whose code Keras 3 runs only if the file is trusted."""
    config, code = layer["config"], layer["config"].get("function")
    if "module" not in layer:  # Keras 3 reads `.h5` files as Keras 2 wrote them.
        return dict(config)
    known = known_arguments(keras.layers.Lambda)
    found = {name: value for name, value in config.items() if name in known}
    if isinstance(code, list) and len(code) == 3:
        names = ("code", "defaults", "closure")
        code = {"class_name": "__lambda__", "config": dict(zip(names, code, strict=True))}
    return {**found, "function": code}


def _has_no_effect(name: str, value: Any) -> bool:
    neutral = value is None or value is False or value == 1 or value == []
    return neutral or name in _WITHOUT_EFFECT or name.endswith(_TRAINING_SUFFIXES)
