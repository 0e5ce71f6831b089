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


def layer_of_keras2(name, **config):
    translated = translate_keras2_config({"class_name": name, "config": {"name": "x", **config}})
    return keras.layers.deserialize(
        {**translated, "module": "keras.layers", "registered_name": None}
    )


def test_hard_sigmoid_is_the_function_of_keras_2():
    values = np.array([[-3.0, -2.5, -1.0, 0.0, 2.0, 2.75]], np.float32)
    expected = np.clip(0.2 * values + 0.5, 0, 1)
    layer = layer_of_keras2("Activation", activation="hard_sigmoid")
    np.testing.assert_allclose(layer(values), expected, atol=1e-6)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    np.testing.assert_allclose(again(values), expected, atol=1e-6)


def test_hard_sigmoid_is_found_in_recurrent_layers():
    config = {"units": 2, "recurrent_activation": "hard_sigmoid"}
    cell = {"class_name": "GRUCell", "config": config, "module": "keras.layers"}
    layers = [layer_of_keras2("LSTM", **config), layer_of_keras2("RNN", cell=cell)]
    for layer in layers:
        assert float(layer.cell.recurrent_activation(np.float32(2))) == pytest.approx(0.9)


def test_a_random_crop_resizes_as_in_keras_2():
    images = np.arange(4 * 6, dtype=np.float32).reshape(1, 4, 6, 1)
    layer = layer_of_keras2("RandomCrop", height=2, width=2, seed=None)
    expected = keras.preprocessing.image.smart_resize(images, (2, 2))
    np.testing.assert_allclose(layer(images, training=False), expected)


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("kind", ["Sequential", "Functional"])
def test_a_nested_model_may_be_the_output(kind, calls):
    """Keras 2 counts the construction of a nested model as its first call."""
    images = {"batch_input_shape": [None, 2], "name": "images", "dtype": "float32"}
    dense = {"name": "d", "units": 2, "kernel_initializer": {"class_name": "Ones", "config": {}}}
    inner = {
        "name": "inner",
        "layers": [
            {"class_name": "InputLayer", "config": images, "name": "images", "inbound_nodes": []},
            {
                "class_name": "Dense",
                "config": dense,
                "name": "d",
                "inbound_nodes": [[["images", 0, 0, {}]]],
            },
        ],
        "input_layers": [["images", 0, 0]],
        "output_layers": [["d", 0, 0]],
    }
    nodes = [[["images", 0, 0, {}]], [["inner", 1, 0, {}]]][:calls]
    outer = {
        **inner,
        "name": "outer",
        "layers": [
            inner["layers"][0],
            {"class_name": kind, "config": inner, "name": "inner", "inbound_nodes": nodes},
        ],
        "output_layers": [["inner", calls, 0]],
    }
    translated = translate_keras2_config({"class_name": "Functional", "config": outer})
    model = keras.Model.from_config(translated["config"])
    np.testing.assert_allclose(model(np.ones((1, 2))), np.full((1, 2), 2.0**calls))


def test_unknown_functions_are_named():
    layer = {
        "class_name": "TFOpLambda",
        "config": {"function": "py_function"},
        "name": "x",
        "inbound_nodes": [["images", 0, 0, {}]],
    }
    with pytest.raises(UnknownFunctionError, match=r"tf\.py_function"):
        function_call(layer)
