import dataclasses
import functools
import re

import keras
import pytest

from tfdefense.classifiers import CLASSIFIERS, ClassifierConfig, FrozenClassifier
from tfdefense.classifiers.core.cached_training import count_parameters
from tfdefense.errors import UserError
from tfdefense.papers.classifier_sizes import stored_sizes

MNIST, CIFAR = (28, 28, 1), (32, 32, 3)
DEEP = ("densenet", "dnet", "rnet")
NAMES_BY_SPEED = [
    pytest.param(name, marks=pytest.mark.slow if name in DEEP else ())
    for name in CLASSIFIERS.names()
]


@pytest.fixture(scope="module")
def build():
    """A function that returns a network; each is made once."""
    return functools.cache(
        lambda name, shape, classes=10: CLASSIFIERS.get(name).build(shape, classes)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("resnet18", 11_173_962),
        ("vgg16", 14_728_266),
        ("densenet", 1_000_618),
        ("dnet", 769_162),
        ("rnet", 1_727_962),
    ],
)
def test_parameter_counts_on_cifar10_are_the_published_ones(build, name, published):
    assert count_parameters(build(name, CIFAR)) == published


def dense(inputs, outputs):
    return (inputs + 1) * outputs


def convolution(size, inputs, outputs):
    return (size * size * inputs + 1) * outputs


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        # The side lengths follow from unpadded convolutions and pools, as in the papers' tables.
        ("lenet", 61_706),
        (
            "mnist_cnn",
            convolution(3, 1, 32)
            + convolution(3, 32, 64)
            + dense(4 * 4 * 64, 128)
            + dense(128, 10),
        ),
        (
            "anet",
            convolution(5, 1, 64)
            + convolution(3, 64, 64)
            + dense(11 * 11 * 64, 128)
            + dense(128, 10),
        ),
        (
            "bnet",
            convolution(3, 1, 64)
            + 3 * convolution(3, 64, 64)
            + dense(4 * 4 * 64, 200)
            + dense(200, 200)
            + dense(200, 10),
        ),
        (
            "defense_gan_a",
            convolution(5, 1, 64)
            + convolution(5, 64, 64)
            + dense(12 * 12 * 64, 128)
            + dense(128, 10),
        ),
        (
            "defense_gan_b",
            convolution(8, 1, 64)
            + convolution(6, 64, 128)
            + convolution(5, 128, 128)
            + dense(128, 10),
        ),
        (
            "defense_gan_c",
            convolution(3, 1, 128)
            + convolution(5, 128, 64)
            + dense(12 * 12 * 64, 128)
            + dense(128, 10),
        ),
        ("defense_gan_d", dense(784, 200) + dense(200, 200) + dense(200, 10)),
    ],
)
def test_parameter_counts_on_mnist_equal_those_computed_by_hand(build, name, by_hand):
    assert count_parameters(build(name, MNIST)) == by_hand


def test_cifar_cnn_has_the_parameter_count_of_figure_3(build):
    convolutions = sum(convolution(3, *ends) for ends in ((3, 64), (64, 64), (64, 128), (128, 128)))
    norms = 2 * (64 + 64 + 128 + 128)
    denses = dense(2 * 2 * 128, 256) + dense(256, 256) + dense(256, 10)
    assert count_parameters(build("cifar_cnn", CIFAR)) == convolutions + norms + denses


@pytest.mark.slow
def test_vgg16_has_the_convolutions_of_keras_applications(build):
    """Only batch normalization and the dense layers differ."""
    body = keras.applications.VGG16(include_top=False, weights=None, input_shape=CIFAR)
    norms = 2 * sum(layer.filters for layer in body.layers if hasattr(layer, "filters"))
    ours = count_parameters(build("vgg16", CIFAR))
    assert ours == count_parameters(body) + norms + dense(512, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES_BY_SPEED)
@pytest.mark.parametrize(("shape", "classes"), [(MNIST, 7), (CIFAR, 10)])
def test_every_network_returns_logits_for_both_datasets(build, name, shape, classes):
    model = build(name, shape, classes)
    assert model.name == name
    assert FrozenClassifier(model, shape).num_classes == classes


@pytest.mark.parametrize("name", CLASSIFIERS.names())
def test_images_that_are_too_small_are_named(name):
    try:
        found = str(CLASSIFIERS.get(name).build((8, 8, 1), 10).output_shape)
    except UserError as error:
        found = str(error)
    is_named = re.search(rf"{name}: images of \(8, 8, 1\) given, \d+x\d+ or larger", found)
    # Those of the papers need larger images; another one may not.
    assert is_named or (name not in stored_sizes()["layers"] and found == "(None, 10)")


@pytest.mark.parametrize("name", CLASSIFIERS.names())
@pytest.mark.parametrize("shape", [MNIST, CIFAR])
def test_recipes_are_valid_command_line_values(name, shape):
    recipe = CLASSIFIERS.get(name).recipe(shape)
    given = dataclasses.asdict(recipe)
    images, _ = given.pop("training_images"), given.pop("most_epochs")
    assert ClassifierConfig(**given).apply_to(recipe) == recipe
    assert images >= 3 * 58_000
    assert not recipe.mirror or shape == CIFAR, "grey images are digits in most cases"


def test_lenet_pads_images_with_one_short_side(build):
    assert build("lenet", (40, 13, 1)).output_shape == (None, 10)
