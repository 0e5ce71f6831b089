import keras
import numpy as np
import pytest

from tfdefense.classifiers.custom.keras2_config import UnknownConfigError, translate_keras2_config
from tfdefense.classifiers.custom.keras2_functions import UnknownFunctionError, function_call

DENSE = {"class_name": "Dense", "config": {"name": "d", "units": 2, "batch_input_shape": [None, 3]}}


@pytest.mark.parametrize("config", [[DENSE], {"name": "s", "layers": [DENSE]}])
def test_a_sequential_of_old_versions_gets_its_input_layer(config):
    translated = translate_keras2_config({"class_name": "Sequential", "config": config})
    first, second = translated["config"]["layers"]
    assert first["config"]["batch_shape"] == [None, 3]
    assert "batch_input_shape" not in second["config"]


def test_arguments_are_renamed_dropped_or_refused():
    def translate(name, **config):
        return translate_keras2_config({"class_name": name, "config": {"name": "x", **config}})[
            "config"
        ]

    assert translate("LeakyReLU", alpha=0.2) == {"name": "x", "negative_slope": 0.2}
    assert translate("BatchNormalization", axis=[3], renorm=True)["axis"] == 3
    assert translate("DepthwiseConv2D", kernel_size=[3, 3], groups=1).keys() == {
        "name",
        "kernel_size",
    }
    with pytest.raises(UnknownConfigError, match="groups=2"):
        translate("DepthwiseConv2D", kernel_size=[3, 3], groups=2)


@pytest.mark.parametrize(
    "node_def", ['name: "sub" op: "Sub" input: "one"', {"name": "sub", "op": "Sub"}]
)
def test_operations_of_tensorflow_2_0_keep_the_order_of_their_arguments(node_def):
    layer = {
        "class_name": "TensorFlowOpLayer",
        "config": {"node_def": node_def, "constants": {"0": 1.0}},
        "name": "sub",
        "inbound_nodes": [[["images", 0, 0, {}]]],
    }
    graph = {
        "name": "model",
        "layers": [
            {
                "class_name": "InputLayer",
                "config": {"batch_input_shape": [None, 3], "name": "images"},
                "name": "images",
                "inbound_nodes": [],
            },
            layer,
        ],
        "input_layers": [["images", 0, 0]],
        "output_layers": [["sub", 0, 0]],
    }
    translated = translate_keras2_config({"class_name": "Model", "config": graph})
    model = keras.Model.from_config(translated["config"])
    np.testing.assert_allclose(model(np.array([[0.0, 0.25, 3.0]])), [[1.0, 0.75, -2.0]])


def test_unknown_functions_are_named():
    layer = {
        "class_name": "TFOpLambda",
        "config": {"function": "py_function"},
        "name": "x",
        "inbound_nodes": [["images", 0, 0, {}]],
    }
    with pytest.raises(UnknownFunctionError, match=r"tf\.py_function"):
        function_call(layer)
