"""Operation that calls a TensorFlow function by its name, for models that Keras 2 wrote.

Keras 2 stores `images / 255.0` inside a model as a layer "TFOpLambda" with the name of the function,
"math.truediv", and its arguments. Keras 3 has no such layer.
"""

import functools
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

_MATH = """abs add add_n ceil cos cumsum divide divide_no_nan equal erf exp expm1 floor floordiv
    greater greater_equal l2_normalize less less_equal log log1p log_sigmoid logical_and logical_not
    logical_or maximum minimum mod multiply multiply_no_nan negative not_equal pow reciprocal
    reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_std reduce_sum
    reduce_variance round rsqrt sigmoid sign sin softplus sqrt square squared_difference subtract
    tanh truediv"""
_NN = """avg_pool avg_pool2d bias_add crelu depth_to_space elu gelu l2_normalize leaky_relu
    local_response_normalization log_softmax max_pool max_pool2d relu relu6 selu sigmoid silu softmax
    softplus softsign space_to_depth swish tanh"""
_IMAGE = """central_crop flip_left_right flip_up_down grayscale_to_rgb per_image_standardization
    resize resize_with_crop_or_pad resize_with_pad rgb_to_grayscale"""
_OTHER = """__operators__.add __operators__.getitem cast clip_by_value compat.v1.transpose concat
    einsum expand_dims gather identity linalg.l2_normalize linalg.matmul ones_like pad repeat reshape
    reverse shape slice split squeeze stack stop_gradient tile transpose unstack where zeros_like"""

# Pure functions of tensors. No name that is not in this set is ever resolved.
FUNCTIONS = frozenset(
    [f"math.{name}" for name in _MATH.split()]
    + [f"nn.{name}" for name in _NN.split()]
    + [f"image.{name}" for name in _IMAGE.split()]
    + _OTHER.split()
)


@keras.saving.register_keras_serializable("tfdefense")
class TensorFlowFunction(keras.Operation):
    """Operation that calls one of `FUNCTIONS` with the arguments of the TensorFlow function.

    Indices of `__operators__.getitem` are in the form of `index_spec`.

    Args:
      function: name of a function inside the module `tensorflow`, such as "math.truediv".
      name: name of the operation in its model.

    Raises:
      ValueError: `function` is not in `FUNCTIONS`.
    """

    def __init__(self, function: str, name: str | None = None) -> None:
        super().__init__(name=name)
        if function not in FUNCTIONS:
            raise ValueError(f"tf.{function} is not a supported function.")
        self.function = function

    def call(self, *args: Any, **keywords: Any) -> Any:
        """Return what the TensorFlow function returns.

        Floating-point tensors of several dtypes are converted to the widest one: in a training in
        bfloat16 the images are float32, and features are bfloat16.
        """
        args, keywords = _convert_to_widest((args, keywords))
        if self.function == "__operators__.getitem":
            return _get_item(*args, **keywords)
        if self.function == "__operators__.add":
            return tf.math.add(*args, **keywords)
        return functools.reduce(getattr, self.function.split("."), tf)(*args, **keywords)

    def get_config(self) -> dict[str, Any]:
        return {"function": self.function, "name": self.name}


def _convert_to_widest(arguments: Any) -> Any:
    """Return nested arguments whose floating-point tensors have one dtype, the widest of them."""

    def is_floating(value: Any) -> bool:
        return tf.is_tensor(value) and value.dtype.is_floating

    dtypes = {value.dtype.name for value in keras.tree.flatten(arguments) if is_floating(value)}
    if len(dtypes) < 2:
        return arguments
    widest = keras.backend.result_type(*sorted(dtypes))
    return keras.tree.map_structure(
        lambda value: tf.cast(value, widest) if is_floating(value) else value, arguments
    )


def layer_config(function: str, name: str, nodes: list[Any]) -> dict[str, Any]:
    """Return the configuration, inside that of a Functional model, of a `TensorFlowFunction`.

    Args:
      function: see `TensorFlowFunction`.
      name: name of the operation.
      nodes: its calls, each with "args" and "kwargs".
    """
    return {
        "module": TensorFlowFunction.__module__,
        "class_name": "TensorFlowFunction",
        "config": {"function": function, "name": name},
        "registered_name": "tfdefense>TensorFlowFunction",
        "name": name,
        "inbound_nodes": nodes,
    }


def index_spec(stored: Any) -> Any:
    """Return the indices that Keras stored, in a form that any Keras file can hold.

    A slice is `{"start", "stop", "step"}`, an ellipsis is `{"ellipsis": True}`; numbers and None are
    indices themselves; a list holds several.
    """
    if isinstance(stored, list):
        return [index_spec(each) for each in stored]
    if not isinstance(stored, Mapping):
        return stored
    if "ellipsis" in str(stored.get("class_name")):
        return {"ellipsis": True}
    bounds = stored.get("config", stored)
    if isinstance(bounds, list):
        return dict(zip(("start", "stop", "step"), bounds, strict=True))
    return {name: bounds.get(name) for name in ("start", "stop", "step")}


def _get_item(tensor: tf.Tensor, slice_spec: Any) -> tf.Tensor:
    if isinstance(slice_spec, list | tuple):
        return tensor[tuple(_index(value) for value in slice_spec)]
    return tensor[_index(slice_spec)]


def _index(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return ... if "ellipsis" in value else slice(value["start"], value["stop"], value["step"])
