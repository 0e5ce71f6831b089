import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers import FrozenClassifier, InputFormat
from tfdefense.classifiers.core.fingerprint import model_fingerprint
from tfdefense.classifiers.custom.custom_model import load_custom_model
from tfdefense.classifiers.custom.logits import LogarithmOfProbabilities
from tfdefense.classifiers.custom.output_selection import OutputSelection
from tfdefense.classifiers.custom.saved_model_layer import FrozenGraph
from tfdefense.errors import UserError

BYTES = InputFormat((0, 255))
SHAPE = (28, 28, 1)


def network(*end, first=(), inputs=SHAPE):
    layers = keras.layers
    body = [layers.Conv2D(8, 5, 2, activation="swish"), layers.Flatten()]
    return keras.Sequential([keras.Input(inputs), *first, *body, *end], name="theirs")


@pytest.fixture(scope="module")
def trained(digits):
    """A model of images as bytes that returns logits; all saved forms are compared with it."""
    keras.utils.set_random_seed(0)
    model = network(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    model.fit(255 * digits.train.images, digits.train.labels, epochs=3, batch_size=64, verbose=0)
    return model


def softmax_ends(trained):
    layers = keras.layers

    def copy(model):
        model.set_weights(trained.get_weights())
        return model

    inner = copy(network(layers.Dense(10), layers.Softmax()))
    return {
        "logits": trained,
        "dense": copy(network(layers.Dense(10, activation="softmax"))),
        "layer": copy(network(layers.Dense(10), layers.Softmax())),
        "activation": copy(network(layers.Dense(10), layers.Activation("softmax"))),
        "nested": keras.Sequential([keras.Input(SHAPE), layers.Identity(), inner]),
    }


@pytest.mark.slow
@pytest.mark.parametrize("form", ["keras", "h5", "saved_model"])
@pytest.mark.parametrize("end", ["logits", "dense", "layer", "activation", "nested"])
def test_logits_and_gradients_equal_those_of_the_saved_model(trained, digits, tmp_path, end, form):
    model = softmax_ends(trained)[end]
    path = tmp_path / (f"theirs.{form}" if form != "saved_model" else "theirs")
    model.export(path, verbose=False) if form == "saved_model" else model.save(path)
    classifier = load_custom_model(path, digits, BYTES)
    assert classifier.name == "theirs"
    images = tf.constant(digits.test.images[:16])
    logits = classifier(images)
    expected = trained(255 * images)
    assert classifier.model.layers[-1].__class__ is not LogarithmOfProbabilities
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-4)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
                digits.test.labels[:16], function(images)
            )
        return tape.gradient(loss, images)

    ours, theirs = gradient(classifier), gradient(lambda images: trained(255 * images))
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3 * np.abs(theirs).max())


@pytest.mark.slow
@pytest.mark.parametrize("form", ["keras", "saved_model"])
def test_a_saved_classifier_equals_the_loaded_one(trained, digits, tmp_path, form):
    path = tmp_path / ("theirs.keras" if form == "keras" else "theirs")
    trained.save(path) if form == "keras" else trained.export(path, verbose=False)
    classifier = load_custom_model(path, digits, BYTES)
    classifier.model.save(tmp_path / "kept.keras")
    kept = keras.models.load_model(tmp_path / "kept.keras", compile=False, safe_mode=True)
    images = digits.test.images[:8]
    np.testing.assert_allclose(kept(images), classifier(images), rtol=1e-5, atol=1e-5)
    again = FrozenClassifier(kept, SHAPE)
    assert model_fingerprint(again) == model_fingerprint(classifier)


@pytest.mark.slow
def test_different_graphs_have_different_fingerprints(trained, digits, tmp_path):
    trained.export(tmp_path / "one", verbose=False)
    other = network(keras.layers.Dense(10))
    other.set_weights([1.01 * weight for weight in trained.get_weights()])
    other.export(tmp_path / "two" / "one", verbose=False)
    one = load_custom_model(tmp_path / "one", digits, BYTES)
    two = load_custom_model(tmp_path / "two" / "one", digits, BYTES)
    assert one.name == two.name
    assert model_fingerprint(one) != model_fingerprint(two)


@pytest.mark.slow
def test_a_missing_input_range_is_found(trained, digits, tmp_path, capsys):
    trained.save(tmp_path / "theirs.keras")
    with pytest.raises(UserError, match=r"in \[0, 1\], and \d\d% given in \[0, 255\].*--input_"):
        load_custom_model(tmp_path / "theirs.keras", digits)
    classifier = load_custom_model(tmp_path / "theirs.keras", digits, InputFormat())
    assert classifier.num_classes == 10, "a range that is given explicitly is accepted"
    printed = capsys.readouterr().out
    assert "the share of the largest class, than to 100 %. Check the images" in printed


class Touching(tf.Module):
    """A model that writes a file at each call, in the given way."""

    def __init__(self, touch):
        self.touch = touch

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def serve(self, images):
        with tf.control_dependencies([self.touch()]):
            return tf.reshape(images, [-1, 784])[:, :10]


@pytest.mark.parametrize(
    ("touch", "operation"),
    [
        (lambda: tf.io.write_file("touched", "x"), "WriteFile"),
        (lambda: tf.print("x", output_stream="file://touched"), "PrintV2"),
        (
            lambda: (
                tf.raw_ops.ReaderReadV2(
                    reader_handle=tf.raw_ops.WholeFileReaderV2(),
                    queue_handle=tf.raw_ops.FIFOQueueV2(component_types=[tf.string]),
                ).key
            ),
            "ReaderReadV2, WholeFileReaderV2",
        ),
    ],
)
def test_a_graph_that_accesses_files_is_an_error(digits, tmp_path, monkeypatch, touch, operation):
    monkeypatch.chdir(tmp_path)
    module = Touching(touch)
    tf.saved_model.save(module, "graph", signatures=module.serve)
    with pytest.raises(
        UserError, match=rf"graph: contains .*{operation}.*can access files.*--unsafe_load"
    ):
        load_custom_model("graph", digits)
    assert not (tmp_path / "touched").exists()


@pytest.fixture
def with_lambda(trained, tmp_path, monkeypatch):
    """A saved model whose Lambda layer writes a file."""

    monkeypatch.chdir(tmp_path)
    layer = keras.layers.Lambda(
        lambda images: (open("ran", "w").close(), images * 1.0)[1], output_shape=SHAPE
    )
    model = network(keras.layers.Dense(10), first=[layer])
    model.set_weights(trained.get_weights())
    model.save(tmp_path / "theirs.keras")
    model.save(tmp_path / "theirs.h5")
    (tmp_path / "ran").unlink(missing_ok=True)
    return tmp_path


@pytest.mark.parametrize("name", ["theirs.keras", "theirs.h5"])
def test_python_code_of_a_model_does_not_run(with_lambda, digits, name):
    with pytest.raises(UserError, match=rf"{name}: contains a Lambda layer.*--unsafe_load"):
        load_custom_model(name, digits, BYTES)
    assert not (with_lambda / "ran").exists()


@pytest.mark.slow
def test_unsafe_code_runs_once_and_is_not_in_the_classifier(with_lambda, trained, digits):
    classifier = load_custom_model("theirs.keras", digits, BYTES, unsafe=True)
    assert (with_lambda / "ran").exists()
    assert any(isinstance(layer, FrozenGraph) for layer in classifier.model.layers)
    (with_lambda / "ran").unlink()
    classifier.model.save("kept.keras")
    kept = keras.models.load_model("kept.keras", compile=False, safe_mode=True)
    images = digits.test.images[:8]
    np.testing.assert_allclose(kept(images), trained(255 * images), rtol=1e-4, atol=1e-4)
    assert not (with_lambda / "ran").exists()


@pytest.mark.slow
def test_exports_of_this_library_are_loaded(trained, digits, tmp_path):
    """A SavedModel with several outputs gives its logits."""
    archive = keras.export.ExportArchive()
    archive.track(trained)

    def serve(images):
        logits = trained(images)
        return {"classes": tf.argmax(logits, -1), "logits": logits}

    spec = [tf.TensorSpec([None, *SHAPE], tf.float32, name="images")]
    archive.add_endpoint("serving_default", serve, input_signature=spec)
    archive.write_out(tmp_path / "both", verbose=False)
    images = digits.test.images[:8]
    ours = load_custom_model(tmp_path / "both", digits, BYTES)
    np.testing.assert_allclose(ours(images), trained(255 * images), rtol=1e-4, atol=1e-4)


def two_inputs():
    one, two = keras.Input(SHAPE), keras.Input(SHAPE)
    both = keras.layers.Flatten()(keras.layers.Add()([one, two]))
    return keras.Model([one, two], keras.layers.Dense(10)(both))


def two_outputs():
    one = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(one)
    return keras.Model(one, [keras.layers.Dense(10)(flat), keras.layers.Dense(10)(flat)])


def flat(inputs, outputs=10, dtype=None):
    layers = keras.layers
    first = [layers.Rescaling(1.0)] if dtype else []
    return keras.Sequential(
        [keras.Input(inputs, dtype=dtype), *first, layers.Flatten(), layers.Dense(outputs)]
    )


@keras.saving.register_keras_serializable("tests")
class Foreign(keras.layers.Layer):
    def call(self, images):
        return images


def with_custom_layer():
    return keras.Sequential([keras.Input(SHAPE), Foreign(), *flat(SHAPE).layers])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (two_inputs, "takes 2 inputs, one needed"),
        (two_outputs, "gives 2 outputs, one needed"),
        (lambda: flat((784,)), r"takes \(784\), not images .*Flatten"),
        (lambda: flat((10,)), r"takes \(10\), not images \(height, width, channels\)"),
        (lambda: flat((1, 28, 28)), r"takes images of \(1, 28, 28\).*channels come first.*Permute"),
        (lambda: flat((28, 28, 3)), r"takes 3 channels, the images have 1\. .*--channels=3\."),
        (lambda: flat((32, 32, 1)), r"the data has \(28, 28, 1\)\. .*--image_size=32\."),
        (lambda: flat(SHAPE, dtype="uint8"), "takes uint8, float32 needed"),
        (lambda: flat(SHAPE, outputs=5), "gives 5 classes, the data has 10"),
        (lambda: flat(SHAPE, outputs=1), "gives one number for each image"),
        (lambda: keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(3, 3)]), "of shape"),
    ],
)
def test_errors_name_models_that_do_not_classify_these_images(make, message, digits, tmp_path):
    make().save(tmp_path / "theirs.keras")
    with pytest.raises(UserError, match=message):
        load_custom_model(tmp_path / "theirs.keras", digits)


def test_equal_names_of_outputs_are_numbered():
    one, two = keras.layers.Dense(4), keras.layers.Dense(10, name="head")
    images = keras.Input((6,))
    model = keras.Model(images, [two(images), two(one(images) @ np.ones((4, 6), np.float32))])
    path = Path("theirs.keras")
    with pytest.raises(UserError, match="gives 2 outputs, one needed: head, head_1"):
        OutputSelection().select_from_model(model, path)
    given = np.random.default_rng(0).random((2, 6)).astype(np.float32)
    for name, expected in zip(("head", "head_1"), model(given), strict=True):
        selected = OutputSelection(output_name=name).select_from_model(model, path)
        np.testing.assert_allclose(selected(given), expected, rtol=1e-6)


def test_a_model_that_unfolds_a_batch_is_refused_by_the_trial(digits, tmp_path):
    layers = keras.layers
    first = [keras.Input(SHAPE), layers.UpSampling2D(200), layers.GlobalAveragePooling2D()]
    keras.Sequential([*first, layers.Dense(10)]).save(tmp_path / "theirs.keras")
    with pytest.raises(UserError, match=r"needs more than 4.* of memory"):
        load_custom_model(tmp_path / "theirs.keras", digits)


@pytest.mark.parametrize("sizes", [(28, 28), (32, 32), (None, None)])
def test_saved_models_with_channels_first_are_named(sizes, digits, tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None, 1, *sizes], tf.float32)
    module.call = tf.function(lambda images: tf.reshape(images, [-1, 10]), input_signature=[spec])
    tf.saved_model.save(module, tmp_path, {"serving_default": module.call})
    with pytest.raises(UserError, match=r"channels come first; convert it .*from-pytorch\.md"):
        load_custom_model(tmp_path, digits)


def test_errors_name_files_that_are_not_models(digits, tmp_path):
    flat(SHAPE).save(tmp_path / "whole.keras")
    content = (tmp_path / "whole.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.h5").write_text("not HDF5")
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    for name, message in (
        ("nowhere.keras", "no such file"),
        ("cut.keras", "not a Keras model, or damaged"),
        ("text.h5", "not a Keras model, or damaged"),
        ("empty", "neither a SavedModel"),
        ("damaged", "saved_model.pb is damaged"),
    ):
        with pytest.raises(UserError, match=message):
            load_custom_model(tmp_path / name, digits)


def test_the_error_names_a_missing_class(digits, tmp_path):
    with_custom_layer().save(tmp_path / "theirs.keras")
    _rename_class(tmp_path / "theirs.keras", "Foreign", "Missing")
    with pytest.raises(UserError, match=r"needs 'Missing'.*model.export\(DIR\)"):
        load_custom_model(tmp_path / "theirs.keras", digits)


def _rename_class(path, old, new):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    files["config.json"] = json.dumps(config).replace(old, new).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
