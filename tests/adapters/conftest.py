"""Defences in front of the toy model, and a measure of accuracy."""

import numpy as np
import pytest
import tensorflow as tf

import tfdefense


@pytest.fixture(scope="session")
def trained_purifier(toy_model, repeated_toy_split):
    """A purifier trained for a moment, so that a part of each image passes."""
    defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
    return defense.fit(repeated_toy_split, epochs=2, batch_size=24)


@pytest.fixture(
    scope="session", params=[pytest.param("apeganpp", marks=pytest.mark.slow), "bit_depth"]
)
def defense(request, trained_purifier, toy_model):
    if request.param == "apeganpp":
        return trained_purifier
    return tfdefense.defenses.BitDepth(toy_model, bits=2)


@pytest.fixture(scope="session")
def accuracy():
    def accuracy(model, images, labels):
        return np.mean(np.argmax(model(tf.constant(images)), -1) == labels)

    return accuracy
