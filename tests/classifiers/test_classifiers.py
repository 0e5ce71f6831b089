import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import SHAPE, make_toy_model
from tests.small_classifier import train_small_classifier
from tfdefense.classifiers import FrozenClassifier, default_for, mnist_cnn
from tfdefense.errors import UserError
from tfdefense.training.mixed_precision import compute_in


def test_the_error_names_images_that_are_too_small():
    with pytest.raises(UserError, match=r"mnist_cnn: images of \(8, 8, 1\) given"):
        mnist_cnn.build_mnist_cnn((8, 8, 1), 10)


def test_the_default_network_follows_from_the_channels():
    assert default_for((28, 28, 1)) == "mnist_cnn"
    assert default_for((32, 32, 3)) == "cifar_cnn"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: keras.Sequential([make_toy_model(), keras.layers.Softmax()]),
            r"gives probabilities \(a softmax",
        ),
        (
            lambda: keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()]),
            "gives 144 classes",
        ),
        (
            lambda: keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(3, 3)]),
            r"output of shape \(4, 10, 10, 3\)",
        ),
        (
            lambda: mnist_cnn.build_mnist_cnn((28, 28, 1), 3),
            r"takes images of \(28, 28, 1\), the data has \(12, 12, 1\)",
        ),
        (
            lambda: lambda images: tf.reshape(images, [-1, 7]) @ tf.ones([7, 3]),
            r"classifier '<lambda>': cannot take images of \(12, 12, 1\): Input to reshape",
        ),
    ],
)
def test_errors_name_unsuitable_models(model, message):
    with pytest.raises(UserError, match=message):
        FrozenClassifier(model(), SHAPE, num_classes=3)


def test_any_callable_is_accepted_and_dropout_is_off(toy_images):
    def brightness(images):
        return images[:, 0, 0, :] * [[1.0, 2.0, -3.0]]

    assert FrozenClassifier(brightness, SHAPE).num_classes == 3
    model = keras.Sequential([make_toy_model(), keras.layers.Dropout(0.9)])
    frozen = FrozenClassifier(model, SHAPE)
    np.testing.assert_array_equal(frozen(toy_images), frozen(toy_images))


def test_training_in_bfloat16_also_computes_attacks_in_bfloat16(toy_images):
    model = make_toy_model()
    classifier = FrozenClassifier(model, SHAPE)
    exact = classifier(toy_images).numpy()
    with compute_in([model], "bfloat16"):
        rounded = classifier(toy_images).numpy()
    assert not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, atol=0.05)


def test_a_model_given_in_mixed_precision_is_computed_in_float32(toy_images):
    model = make_toy_model()
    exact = FrozenClassifier(model, SHAPE)(toy_images)
    with compute_in([model], "bfloat16"):
        given = FrozenClassifier(model, SHAPE)
        np.testing.assert_array_equal(given(toy_images), exact)


@pytest.mark.slow
def test_a_classifier_is_trained_once_and_then_loaded(digits, tmp_path, capsys, monkeypatch):
    train_small_classifier(monkeypatch, images=10_000)
    first = tfdefense.classifiers.load("mnist_cnn", digits, runs_dir=tmp_path)
    said = capsys.readouterr().out
    assert "Training the classifier mnist_cnn on digits" in said
    assert (tmp_path / "digits-mnist_cnn" / "config.json").is_file()
    predicted = np.argmax(first(digits.test.images), -1)
    assert np.mean(predicted == digits.test.labels) > 0.85
    again = tfdefense.classifiers.load("mnist_cnn", digits, runs_dir=tmp_path)
    assert "Training" not in capsys.readouterr().out
    np.testing.assert_array_equal(np.argmax(again(digits.test.images), -1), predicted)


@pytest.mark.slow
def test_the_error_names_a_damaged_classifier(digits, tmp_path, capsys, monkeypatch):
    train_small_classifier(monkeypatch, images=3_000)
    tfdefense.classifiers.load("mnist_cnn", digits, runs_dir=tmp_path)
    (tmp_path / "digits-mnist_cnn" / "classifier.keras").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"classifier.keras: cannot be loaded"):
        tfdefense.classifiers.load("mnist_cnn", digits, runs_dir=tmp_path)


@pytest.mark.slow
def test_two_replicas_train_a_network_with_dropout(digits, two_replicas, monkeypatch):
    train_small_classifier(monkeypatch)
    with two_replicas.scope():
        model = tfdefense.classifiers.ClassifierTraining(mnist_cnn.MNIST_CNN, digits).fit()
    predicted = np.argmax(model.predict(digits.validation.images, verbose=0), -1)
    assert np.mean(predicted == digits.validation.labels) > 0.6
