"""A classifier of colour images."""

import pytest

from tfdefense.classifiers import FrozenClassifier


@pytest.fixture(scope="session")
def colour_classifier():
    """Classifier of 8x8 images whose logits are the colour of the first pixel."""
    return FrozenClassifier(lambda images: images[:, 0, 0, :], (8, 8, 3))
