"""Translation of the TensorFlow functions in models that Keras 2 wrote.

Keras 2.4 and later store a call as "TFOpLambda" or "SlicingOpLambda" with the name of the function;
TensorFlow 2.0 to 2.3 store it as "TensorFlowOpLayer" with a node of a graph.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from tfdefense.classifiers.custom import tensorflow_function

_LAYERS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
_CONSTANT = "_CONSTANT_VALUE"  # In the place of the name of a layer.
# Functions whose first argument is a list of tensors.
_OF_LISTS = ("concat", "stack", "math.add_n")
# Operation in a graph -> function.
_OPERATIONS = {
    "Abs": "math.abs",
    "Add": "math.add",
    "AddV2": "math.add",
    "Div": "math.divide",
    "Exp": "math.exp",
    "Log": "math.log",
    "Maximum": "math.maximum",
    "Minimum": "math.minimum",
    "Mul": "math.multiply",
    "Neg": "math.negative",
    "Pow": "math.pow",
    "RealDiv": "math.truediv",
    "Relu": "nn.relu",
    "Relu6": "nn.relu6",
    "Rsqrt": "math.rsqrt",
    "Sigmoid": "math.sigmoid",
    "Softmax": "nn.softmax",
    "Sqrt": "math.sqrt",
    "Square": "math.square",
    "Sub": "math.subtract",
    "Tanh": "math.tanh",
}


class UnknownFunctionError(ValueError):
    """A function that `TensorFlowFunction` does not call; the text names it."""


def is_function_layer(class_name: str) -> bool:
    """Return whether layers of this class of Keras 2 call a TensorFlow function."""
    return class_name in _LAYERS


def function_call(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the layer of a Functional model with a `TensorFlowFunction` for it.

    Args:
      layer: its configuration, with "class_name", "config", "name" and "inbound_nodes".

    Raises:
      UnknownFunctionError: it calls another function.
    """
    config = layer["config"]
    if layer["class_name"] == "TensorFlowOpLayer":
        function = _function_of_node(config["node_def"])
        constants = config.get("constants") or {}
        nodes = [_positional_node(node, constants) for node in layer["inbound_nodes"]]
    else:
        function = str(config["function"])
        nodes = [_node(node, function) for node in layer["inbound_nodes"]]
    if function not in tensorflow_function.FUNCTIONS:
        raise UnknownFunctionError(f"it calls tf.{function} inside")
    return tensorflow_function.layer_config(function, layer["name"], nodes)


def has_tensor_keywords(node: Any) -> bool:
    """Return whether a call of a layer takes tensors by keyword, as `attention(x, value=x)` does."""
    inputs = [node] if node and isinstance(node[0], str) else node
    keywords = [each[3] for each in inputs if isinstance(each, list) and len(each) > 3]
    return any(_value(value) != value for each in keywords for value in each.values())


def keyword_call(node: list[Any]) -> dict[str, Any]:
    """Return the call of a layer `[layer, node, tensor, keywords]` in the form of Keras 3."""
    return _node(node, "")


def _node(node: list[Any], function: str) -> dict[str, Any]:
    """Return a call `[layer, node, tensor, keywords]`, or a list of these, in the form of Keras 3."""
    inputs = [node] if isinstance(node[0], str) else node
    keywords = dict(inputs[0][3]) if len(inputs[0]) > 3 else {}
    if "slice_spec" in keywords:
        keywords["slice_spec"] = tensorflow_function.index_spec(keywords["slice_spec"])
    first: Any = [_value(each[:3]) for each in inputs]
    if function not in _OF_LISTS:
        (first,) = first
    return {"args": [first], "kwargs": {name: _value(value) for name, value in keywords.items()}}


def _positional_node(node: list[Any], constants: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call whose constants have the given positions, between the tensors."""
    tensors = [_value(each[:3]) for each in ([node] if isinstance(node[0], str) else node)]
    for position, value in sorted(constants.items(), key=lambda item: int(item[0])):
        tensors.insert(int(position), value)
    return {"args": tensors, "kwargs": {}}


def _value(value: Any) -> Any:
    """Return an argument; a reference to a tensor, in a list, becomes one of Keras 3."""
    if not isinstance(value, list):
        return value
    is_reference = len(value) == 3 and isinstance(value[0], str) and isinstance(value[1], int)
    if not is_reference:
        return [_value(each) for each in value]
    if value[0] == _CONSTANT:
        return value[2]
    # Keras reads the history only, but needs a shape.
    history = {"shape": [None], "dtype": "float32", "keras_history": value}
    return {"class_name": "__keras_tensor__", "config": history}


def _function_of_node(node: Any) -> str:
    text = node if isinstance(node, str) else json.dumps(node)
    found = re.search(r'"?\bop"?:\s*"(\w+)"', text)
    operation = found[1] if found else "?"
    if operation not in _OPERATIONS:
        raise UnknownFunctionError(f"it runs the operation {operation} inside")
    return _OPERATIONS[operation]
