import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers import FrozenClassifier, InputFormat
from tfdefense.classifiers.core.fingerprint import model_fingerprint
from tfdefense.classifiers.custom import custom_model
from tfdefense.classifiers.custom.logits import LogarithmOfProbabilities
from tfdefense.classifiers.custom.saved_model_layer import FrozenGraph
from tfdefense.errors import UserError

BYTES = InputFormat((0, 255))
SHAPE = (28, 28, 1)


def network(*end, first=(), inputs=SHAPE):
    layers = keras.layers
    body = [layers.Conv2D(8, 5, 2, activation="swish"), layers.Flatten()]
    return keras.Sequential([keras.Input(inputs), *first, *body, *end], name="hers")


@pytest.fixture(scope="module")
def trained(digits):
    """Logits of images as bytes, without a softmax: the truth that all forms of it are held to."""
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


@pytest.mark.parametrize("form", ["keras", "h5", "saved_model"])
@pytest.mark.parametrize("end", ["logits", "dense", "layer", "activation", "nested"])
def test_logits_and_gradients_are_hers(trained, digits, tmp_path, end, form):
    model = softmax_ends(trained)[end]
    path = tmp_path / (f"hers.{form}" if form != "saved_model" else "hers")
    model.export(path, verbose=False) if form == "saved_model" else model.save(path)
    classifier = custom_model.load_custom_model(path, digits, BYTES)
    assert classifier.name == "hers"
    images = tf.constant(digits.test.images[:16])
    logits = classifier(images)
    expected = trained(255 * images)
    inverted = end == "nested" and form != "saved_model"
    assert (classifier.model.layers[-1].__class__ is LogarithmOfProbabilities) == inverted
    if inverted:  # Logits up to a constant for each image.
        expected = tf.math.log_softmax(expected)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-4)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
                digits.test.labels[:16], function(images)
            )
        return tape.gradient(loss, images)

    ours, hers = gradient(classifier), gradient(lambda images: trained(255 * images))
    np.testing.assert_allclose(ours, hers, rtol=1e-2, atol=1e-3 * np.abs(hers).max())


@pytest.mark.parametrize("form", ["keras", "saved_model"])
def test_what_a_run_keeps_of_it_is_the_same(trained, digits, tmp_path, form):
    path = tmp_path / ("hers.keras" if form == "keras" else "hers")
    trained.save(path) if form == "keras" else trained.export(path, verbose=False)
    classifier = custom_model.load_custom_model(path, digits, BYTES)
    classifier.model.save(tmp_path / "kept.keras")
    kept = keras.models.load_model(tmp_path / "kept.keras", compile=False, safe_mode=True)
    images = digits.test.images[:8]
    np.testing.assert_allclose(kept(images), classifier(images), rtol=1e-5, atol=1e-5)
    again = FrozenClassifier(kept, SHAPE)
    assert model_fingerprint(again) == model_fingerprint(classifier)


def test_two_frozen_graphs_have_two_fingerprints(trained, digits, tmp_path):
    trained.export(tmp_path / "one", verbose=False)
    other = network(keras.layers.Dense(10))
    other.set_weights([1.01 * weight for weight in trained.get_weights()])
    other.export(tmp_path / "two" / "one", verbose=False)
    one = custom_model.load_custom_model(tmp_path / "one", digits, BYTES)
    two = custom_model.load_custom_model(tmp_path / "two" / "one", digits, BYTES)
    assert one.name == two.name
    assert model_fingerprint(one) != model_fingerprint(two)


def test_an_input_range_forgotten_is_found(trained, digits, tmp_path, capsys):
    trained.save(tmp_path / "hers.keras")
    with pytest.raises(
        UserError, match=r"in \[0, 1\], and about \d\d% given in \[0, 255\].*--input_"
    ):
        custom_model.load_custom_model(tmp_path / "hers.keras", digits)
    classifier = custom_model.load_custom_model(tmp_path / "hers.keras", digits, InputFormat())
    assert classifier.num_classes == 10, "said aloud, [0, 1] is taken"
    assert "That is little. Are its inputs" in capsys.readouterr().out


def test_standardised_colour_inputs():
    chosen = InputFormat((0, 255), input_mean=(120, 110, 100), input_std=(60, 50, 40))
    images = np.random.default_rng(0).random((4, 5, 5, 3)).astype(np.float32)
    expected = (255 * images - [120, 110, 100]) / [60, 50, 40]
    np.testing.assert_allclose(chosen.layer(3)(images), expected, rtol=1e-5, atol=1e-5)
    assert InputFormat().layer(3) is None
    assert chosen.settings() == {
        "input_range": [0.0, 255.0],
        "input_mean": [120.0, 110.0, 100.0],
        "input_std": [60.0, 50.0, 40.0],
    }


def test_bytes_arrive_as_the_bytes_they_were():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = np.divide(every, 255, dtype=np.float32)
    np.testing.assert_allclose(BYTES.layer(1)(images)[0], every[0], atol=2e-5)


@pytest.mark.parametrize(
    ("given", "channels", "message"),
    [
        ({"input_range": (255, 0)}, 1, r"--input_range=255,0: two numbers needed, low before high"),
        ({"input_range": (1,)}, 1, r"--input_range=1: two numbers"),
        ({"input_std": (0,)}, 1, r"--input_std=0: numbers above 0"),
        ({"input_mean": (1, 2)}, 3, r"--input_mean=1,2: 2 numbers given, 1 or 3 needed"),
    ],
)
def test_bad_input_formats_are_named(given, channels, message):
    with pytest.raises(UserError, match=message):
        InputFormat(**given).layer(channels)


def test_logarithms_of_probabilities_invert_a_softmax():
    logits = np.array([[0.0, 5.0, -80.0], [3.0, 3.0, 3.0]], np.float32)
    back = tf.nn.softmax(LogarithmOfProbabilities()(tf.nn.softmax(logits))).numpy()
    np.testing.assert_allclose(back, tf.nn.softmax(logits), rtol=1e-6)
    assert np.all(np.isfinite(LogarithmOfProbabilities()(tf.constant([[1.0, 0.0]]))))


class Touching(tf.Module):
    """Writes a file each time that it is asked, in the given way."""

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
def test_a_graph_that_touches_files_is_refused(digits, tmp_path, monkeypatch, touch, operation):
    monkeypatch.chdir(tmp_path)
    module = Touching(touch)
    tf.saved_model.save(module, "graph", signatures=module.serve)
    with pytest.raises(
        UserError, match=rf"graph: contains {operation}, which touch.*--unsafe_load"
    ):
        custom_model.load_custom_model("graph", digits)
    assert not (tmp_path / "touched").exists()


@pytest.fixture
def with_lambda(trained, tmp_path, monkeypatch):
    """A file that writes another one when its Lambda layer runs."""

    monkeypatch.chdir(tmp_path)
    layer = keras.layers.Lambda(
        lambda images: (open("ran", "w").close(), images * 1.0)[1], output_shape=SHAPE
    )
    model = network(keras.layers.Dense(10), first=[layer])
    model.set_weights(trained.get_weights())
    model.save(tmp_path / "hers.keras")
    model.save(tmp_path / "hers.h5")
    (tmp_path / "ran").unlink(missing_ok=True)
    return tmp_path


@pytest.mark.parametrize("name", ["hers.keras", "hers.h5"])
def test_python_in_a_file_does_not_run(with_lambda, digits, name):
    with pytest.raises(UserError, match=rf"{name}: contains a Lambda layer.*--unsafe_load"):
        custom_model.load_custom_model(name, digits, BYTES)
    assert not (with_lambda / "ran").exists()


def test_with_unsafe_load_it_runs_once_and_what_is_kept_has_none(with_lambda, trained, digits):
    classifier = custom_model.load_custom_model("hers.keras", digits, BYTES, unsafe=True)
    assert (with_lambda / "ran").exists()
    assert any(isinstance(layer, FrozenGraph) for layer in classifier.model.layers)
    (with_lambda / "ran").unlink()
    classifier.model.save("kept.keras")
    kept = keras.models.load_model("kept.keras", compile=False, safe_mode=True)
    images = digits.test.images[:8]
    np.testing.assert_allclose(kept(images), trained(255 * images), rtol=1e-4, atol=1e-4)
    assert not (with_lambda / "ran").exists()


def test_our_own_exports_are_taken(trained, digits, tmp_path):
    """A SavedModel of several outputs: its logits."""
    archive = keras.export.ExportArchive()
    archive.track(trained)

    def serve(images):
        logits = trained(images)
        return {"classes": tf.argmax(logits, -1), "logits": logits}

    spec = [tf.TensorSpec([None, *SHAPE], tf.float32, name="images")]
    archive.add_endpoint("serving_default", serve, input_signature=spec)
    archive.write_out(tmp_path / "both", verbose=False)
    images = digits.test.images[:8]
    ours = custom_model.load_custom_model(tmp_path / "both", digits, BYTES)
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
class Hers(keras.layers.Layer):
    def call(self, images):
        return images


def with_custom_layer():
    return keras.Sequential([keras.Input(SHAPE), Hers(), *flat(SHAPE).layers])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (two_inputs, "takes 2 inputs, one needed"),
        (two_outputs, "gives 2 outputs, one needed"),
        (lambda: flat((784,)), r"takes \(784\), not images .*Flatten"),
        (lambda: flat((10,)), r"takes \(10\), not images \(height, width, channels\)"),
        (lambda: flat((1, 28, 28)), r"takes images of \(1, 28, 28\).*channels come first.*Permute"),
        (lambda: flat((28, 28, 3)), r"takes 3 channels, the images have 1"),
        (lambda: flat((32, 32, 1)), r"the data has \(28, 28, 1\)\. .*--image_size=32\."),
        (lambda: flat(SHAPE, dtype="uint8"), "takes uint8, float32 needed"),
        (lambda: flat(SHAPE, outputs=5), "gives 5 classes, the data has 10"),
        (lambda: flat(SHAPE, outputs=1), "gives one number for each image"),
        (lambda: keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(3, 3)]), "of shape"),
    ],
)
def test_models_that_are_no_classifiers_of_these_images_are_named(make, message, digits, tmp_path):
    make().save(tmp_path / "hers.keras")
    with pytest.raises(UserError, match=message):
        custom_model.load_custom_model(tmp_path / "hers.keras", digits)


def test_files_that_are_no_models_are_named(digits, tmp_path):
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
            custom_model.load_custom_model(tmp_path / name, digits)


def test_a_class_that_is_not_here_is_named(digits, tmp_path):
    with_custom_layer().save(tmp_path / "hers.keras")
    _rename_class(tmp_path / "hers.keras", "Hers", "Theirs")
    with pytest.raises(UserError, match=r"needs 'Theirs'.*model.export\(DIR\)"):
        custom_model.load_custom_model(tmp_path / "hers.keras", digits)


def _rename_class(path, old, new):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    files["config.json"] = json.dumps(config).replace(old, new).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
