"""SavedModels with side effects, several signatures and outputs, and unusual dtypes and batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers.custom.output_selection import OutputSelection
from tfdefense.classifiers.custom.saved_model_layer import freeze_saved_model
from tfdefense.errors import UserError
from tfdefense.utils.trust import trust_model_files

SHAPE = (8, 8, 1)
IMAGES = np.random.default_rng(0).random((5, *SHAPE)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(64, 3)).astype(np.float32)


class Served(tf.Module):
    """Module with several signatures that multiply flat images by the same weights."""

    def __init__(self):
        self.weights = tf.Variable(WEIGHTS)
        self.calls = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def count(self, images):
        self.calls.assign_add(1.0)
        tf.debugging.assert_all_finite(images, "finite")
        probabilities = tf.nn.softmax(tf.reshape(images, [-1, 64]) @ self.weights)
        return {"probs": probabilities, "calls": self.calls.read_value()}

    @tf.function(input_signature=[tf.TensorSpec([2, *SHAPE], tf.float32)])
    def pair(self, images):
        return tf.sigmoid(tf.reshape(images, [2, 64]) @ self.weights)

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float64)])
    def loop(self, images):
        doubled = tf.map_fn(lambda image: 2.0 * image, images)
        return tf.reshape(tf.cast(doubled, tf.float32), [-1, 64]) @ self.weights

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(self, encoded):
        return tf.reshape(tf.io.decode_raw(encoded, tf.float32), [-1, 64]) @ self.weights

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def constant(self, images):
        del images
        return self.weights

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def training(self, images):
        flat = tf.reshape(images, [-1, 64])
        return (flat - tf.reduce_mean(flat, axis=0)) @ self.weights


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("served")
    module = Served()
    names = ("count", "pair", "loop", "constant", "training")
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, path, {**signatures, "serving_default": module.decode})
    return path


def load(path, *selection):
    return freeze_saved_model(path, OutputSelection(*selection))[0]


def test_side_effects_are_removed(served):
    network = load(served, "count", "probs")
    assert network.has_logits
    expected = IMAGES.reshape(5, 64) @ WEIGHTS
    for _ in range(2):
        np.testing.assert_allclose(network.layer(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert load(served, "count", "probs").layer.digest == network.layer.digest


def logits_and_gradient(network):
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = network.layer(images)
    return logits, tape.gradient(logits, images)


def test_batches_are_split_for_a_fixed_batch_size(served):
    network = load(served, "pair")
    logits, gradient = logits_and_gradient(network)
    expected = IMAGES.reshape(5, 64) @ WEIGHTS
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        np.reshape(gradient, (5, 64)), np.tile(WEIGHTS.sum(axis=1), (5, 1)), rtol=1e-4, atol=1e-5
    )
    layer = type(network.layer).from_config(network.layer.get_config())
    assert layer.batch_size == 2


@pytest.mark.parametrize("unsafe", [False, True])
def test_loops_and_other_dtypes_pass_gradients(served, unsafe):
    with trust_model_files(trusted=unsafe):
        network = load(served, "loop")
    logits, gradient = logits_and_gradient(network)
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, 2 * IMAGES.reshape(5, 64) @ WEIGHTS, rtol=1e-4, atol=1e-5)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ((), r"'serving_default' takes encoded: string \(any\).*'constant' takes float32"),
        (
            ("nowhere",),
            r"--signature=nowhere: .* it has constant, count, loop, pair, serving_default",
        ),
        (("count",), r"gives 2 outputs, one needed: calls, probs\. Select one with --output_name"),
        (("count", "x"), r"--output_name=x: .* has no such output; it has calls, probs"),
        (("constant",), "its output does not depend on its images"),
    ],
)
def test_errors_say_what_can_be_selected(served, selection, message):
    with pytest.raises(UserError, match=message):
        load(served, *selection)


def test_missing_variables_are_one_line(served, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes((served / "saved_model.pb").read_bytes())
    with pytest.raises(UserError, match="its variables cannot be read") as caught:
        load(tmp_path, "pair")
    assert "\n" not in str(caught.value)


def test_variables_are_not_read_from_another_directory(served, tmp_path):
    """A directory in the place of the checkpoint can name one elsewhere on this computer."""
    folder = tmp_path / "variables" / "variables"
    folder.mkdir(parents=True)
    (tmp_path / "saved_model.pb").write_bytes((served / "saved_model.pb").read_bytes())
    other = served / "variables" / "variables"
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{other}"\n')
    with pytest.raises(UserError, match="its variables cannot be read"):
        load(tmp_path, "pair")


_RANDOM_LAYERS = {
    "flip": keras.layers.RandomFlip(),
    "rotation": keras.layers.RandomRotation(0.2),
    "contrast": keras.layers.RandomContrast((0.2, 0.2), value_range=(0, 1)),
    "dropout": keras.layers.Dropout(0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*_RANDOM_LAYERS])
def test_exports_with_random_layers_are_deterministic(name, tmp_path, capsys):
    layers = [_RANDOM_LAYERS[name], keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input(SHAPE), *layers])
    model.export(tmp_path / "theirs", verbose=False)
    network = load(tmp_path / "theirs")
    found = network.layer(IMAGES)
    np.testing.assert_allclose(found, model(IMAGES, training=False), atol=1e-4)
    np.testing.assert_allclose(network.layer(IMAGES[1:2]), found[1:2], atol=1e-5)
    # Keras exports Dropout in inference mode, the others in training mode.
    assert ("augments images at random" in capsys.readouterr().out) == (name != "dropout")


@pytest.mark.parametrize("draw", ["stateful", "stateless"])
def test_dropout_in_training_mode_is_an_error(draw, tmp_path):
    def drop(flat):
        if draw == "stateful":
            return tf.nn.dropout(flat, 0.25)
        return tf.nn.experimental.stateless_dropout(flat, 0.25, seed=[1, 2])

    module = tf.Module()
    module.call = tf.function(
        lambda images: drop(tf.reshape(images, [-1, 64])) @ WEIGHTS,
        input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)],
    )
    tf.saved_model.save(module, tmp_path, {"serving_default": module.call})
    with pytest.raises(UserError, match=r"a Dropout was saved in training mode.*model\.eval\(\)"):
        load(tmp_path)
