"""Models of 16 bits give the logits, gradients and attacks of the same weights in float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import BIM, FGSM, DeepFool
from tfdefense.classifiers import FrozenClassifier
from tfdefense.classifiers.custom.graph_precision import compute_graph_in_float32
from tfdefense.classifiers.custom.keras_file import read_keras_model
from tfdefense.classifiers.custom.saved_model_layer import freeze_saved_model

SHAPE = (6, 6, 1)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((12, *SHAPE)).astype(np.float32)
# Logits of most images are far apart, so that gradients of the cross-entropy are small.
SCALES = (0.3, 0.3, 40.0, 0.3)


def model_of(policy):
    images = keras.Input(SHAPE)
    hidden = keras.layers.Dense(8, "relu", dtype=policy)(keras.layers.Flatten()(images))
    model = keras.Model(images, keras.layers.Dense(3, dtype=policy)(hidden), name="confident")
    random = np.random.default_rng(1)
    model.set_weights(
        [s * random.normal(size=w.shape) for s, w in zip(SCALES, model.weights, strict=True)]
    )
    if policy != "float32":  # Weights that 16 bits hold exactly.
        model.set_weights(
            [
                tf.cast(tf.cast(w, policy.removeprefix("mixed_")), tf.float32)
                for w in model.get_weights()
            ]
        )
    return model


def opened(model, kind, path):
    if kind == "python":
        return FrozenClassifier(model, SHAPE)
    if kind == "file":
        model.save(path / "theirs.keras")
        return FrozenClassifier(read_keras_model(path / "theirs.keras"), SHAPE)
    model.export(path / "theirs", verbose=False)
    return FrozenClassifier(freeze_saved_model(path / "theirs")[0].layer, SHAPE)


def input_gradient(classifier, labels):
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, classifier(images))
    return tape.gradient(loss, images).numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "kind"),
    [
        ("mixed_float16", "python"),
        ("mixed_float16", "file"),
        ("mixed_float16", "saved_model"),
        ("mixed_bfloat16", "saved_model"),
        ("float16", "file"),
        ("float16", "saved_model"),
        ("bfloat16", "file"),
    ],
)
def test_a_model_of_16_bits_is_attacked_like_its_float32_twin(policy, kind, tmp_path):
    model = model_of(policy)
    twin = model_of("float32")
    twin.set_weights([tf.cast(weight, tf.float32) for weight in model.weights])
    expected = FrozenClassifier(twin, SHAPE)
    labels = np.argmax(expected(IMAGES), axis=-1)
    classifier = opened(model, kind, tmp_path)
    np.testing.assert_allclose(classifier(IMAGES), expected(IMAGES), rtol=1e-4, atol=1e-3)
    gradient = input_gradient(expected, labels)
    largest = np.max(np.abs(gradient), axis=(1, 2, 3))
    assert np.sum((largest > 0) & (largest < 6e-8)) >= 4  # These are 0 in float16.
    np.testing.assert_allclose(input_gradient(classifier, labels), gradient, rtol=1e-2)
    for attack in (FGSM(epsilon=0.1), BIM(epsilon=0.1, steps=3), DeepFool(steps=5)):
        found, wanted = (attack(each, IMAGES, labels) for each in (classifier, expected))
        # The sign of a gradient near 0 may differ.
        assert np.mean(np.isclose(found, wanted, atol=1e-3)) > 0.97, attack.name


def test_functions_and_loops_are_converted():
    weights = RANDOM.normal(size=(36, 3))

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def compute(images):
        short = tf.map_fn(lambda image: tf.reshape(image, [36]), tf.cast(images, tf.float16))
        branch = tf.cond(tf.shape(short)[0] > 0, lambda: short * 2, lambda: short)
        return tf.cast(branch @ tf.constant(weights, tf.float16), tf.float32)

    concrete = compute.get_concrete_function()
    graph = compute_graph_in_float32(concrete.graph.as_graph_def())
    assert "DT_HALF" not in str(graph)
    with tf.Graph().as_default() as converted:
        tf.compat.v1.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=converted) as session:
            outputs = session.run(concrete.outputs[0].name, {concrete.inputs[0].name: IMAGES})
    exact = 2 * IMAGES.reshape(-1, 36).astype(np.float64) @ weights.astype(np.float16)
    np.testing.assert_allclose(outputs, exact, rtol=1e-5, atol=1e-5)


def test_a_graph_that_reads_bits_does_not_change_and_a_line_says_so(capsys):
    with tf.Graph().as_default() as graph:
        tf.bitcast(tf.constant([1.0], tf.float16), tf.uint16)
    definition = graph.as_graph_def()
    assert compute_graph_in_float32(definition) is definition
    assert "reads them (Bitcast)" in "".join(capsys.readouterr())


def test_bits_of_integers_do_not_matter():
    with tf.Graph().as_default() as graph:
        tf.bitcast(tf.constant([1]), tf.uint32)
        tf.constant([1.0], tf.float16)
    assert "DT_HALF" not in str(compute_graph_in_float32(graph.as_graph_def()))


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_inputs_of_16_bits_do_not_round_gradients(dtype):
    """A `Sequential` without `Input` has an input of the dtype of its first layer."""
    layers = [keras.layers.Flatten(dtype="mixed_float16")]
    layers += [keras.layers.Dense(2, kernel_initializer="ones", dtype="mixed_float16")]
    first = [keras.Input(SHAPE, dtype=dtype)] if dtype else []
    model = keras.Sequential(first + layers)
    model.build((None, *SHAPE))
    classifier = FrozenClassifier(model, SHAPE)
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        small = 1e-9 * tf.reduce_sum(classifier(images))
    np.testing.assert_allclose(tape.gradient(small, images), 2e-9, rtol=1e-3)
    np.testing.assert_allclose(classifier(IMAGES)[:, 0], IMAGES.reshape(12, -1).sum(1), rtol=1e-6)
    assert model.inputs[0].dtype == "float16"


def test_quantised_layers_keep_their_precision():
    model = model_of("mixed_bfloat16")
    model.quantize("int8")
    expected = tf.cast(model(IMAGES), tf.float32)
    np.testing.assert_array_equal(FrozenClassifier(model, SHAPE)(IMAGES), expected)
