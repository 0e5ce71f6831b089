"""Stored multiply-accumulate operations, compared with those of the networks."""

import pytest

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.papers.classifier_macs import (
    classifier_layers,
    classifier_macs,
    count_layers,
    count_macs,
    stored_macs,
)

SHAPES = [(28, 28, 1), (32, 32, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_file_has_the_operations_of_every_classifier(shape):
    stored = stored_macs()["x".join(map(str, shape))]
    assert stored == {name: count_macs(name, shape) for name in CLASSIFIERS.names()}
    layers = {name: count_layers(name, shape) for name in CLASSIFIERS.names()}
    assert stored_macs()["layers"] == layers


def test_images_of_another_size_are_counted():
    assert classifier_macs("lenet", (40, 40, 1)) > classifier_macs("lenet", (28, 28, 1))


def test_layers_of_a_classifier_that_the_file_lacks_are_counted(monkeypatch):
    monkeypatch.setitem(stored_macs(), "layers", {})
    assert classifier_layers("lenet", (28, 28, 1)) == 5
