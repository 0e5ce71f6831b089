import keras
import numpy as np
import pytest

from tests.conftest import SHAPE
from tfdefense.training.frozen_networks import infer_fast
from tfdefense.training.mixed_precision import compute_in

IMAGES = np.random.default_rng(0).random((8, *SHAPE), np.float32)


def make_model(dtype=None):
    layers = keras.layers
    attention = layers.MultiHeadAttention(2, 4, dtype=dtype, name="attention")
    images = keras.Input(SHAPE)
    rows = layers.Reshape((SHAPE[0], -1))(layers.Conv2D(4, 3, padding="same")(images))
    features = layers.Flatten()(attention(rows, rows))
    return keras.Model(images, layers.Dense(3)(features))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantised_layers_keep_their_scales():
    keras.utils.set_random_seed(0)
    model = make_model()
    model.quantize("int8")
    expected = model(IMAGES)
    with infer_fast([model], "bfloat16"):
        assert model.layers[1].compute_dtype == "bfloat16"
        found = model(IMAGES)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_a_map_of_policies_is_not_changed():
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="mixed_float16")
    model = make_model(policies)
    expected = model(IMAGES)
    with compute_in([model], "bfloat16"):
        assert model.get_layer("attention").compute_dtype == "float16"
        assert model.layers[-1].compute_dtype == "bfloat16"
    np.testing.assert_array_equal(model(IMAGES), expected)
