"""Stored sizes of classifiers, compared with those of the networks."""

import pytest

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.papers.classifier_sizes import (
    classifier_layers,
    classifier_macs,
    classifier_values,
    count_layers,
    count_macs,
    count_values,
    stored_sizes,
)

SHAPES = [(28, 28, 1), (32, 32, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_sizes_in_the_file_are_those_of_the_networks(shape):
    for kind, count in (("macs", count_macs), ("values", count_values)):
        stored = stored_sizes()[kind]["x".join(map(str, shape))]
        assert stored == {name: count(name, shape) for name in stored}
        assert stored.keys() == stored_sizes()["layers"].keys() <= set(CLASSIFIERS.names())
        assert len(stored) >= 14, "all that the package has"
    layers = stored_sizes()["layers"]
    assert layers == {name: count_layers(name, shape) for name in layers}


def test_images_of_another_size_are_counted():
    for size in (classifier_macs, classifier_values):
        assert size("lenet", (40, 40, 1)) > size("lenet", (28, 28, 1))


def test_values_are_those_of_all_layers():
    # Two convolutions with pooling, a flattening, three dense layers.
    convolutions = 28 * 28 * 6 + 14 * 14 * 6 + 10 * 10 * 16 + 5 * 5 * 16
    assert classifier_values("lenet", (28, 28, 1)) == convolutions + 5 * 5 * 16 + 120 + 84 + 10


def test_layers_of_a_classifier_that_the_file_lacks_are_counted(monkeypatch):
    monkeypatch.setitem(stored_sizes(), "layers", {})
    assert classifier_layers("lenet", (28, 28, 1)) == 5
