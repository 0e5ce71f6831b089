"""Exported models and encoded images that the serving tests share."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tfdefense.serving import ModelFacts, Variant, export

CLASS_NAMES = ("up", "middle", "down")


@pytest.fixture(scope="session")
def served_defense(toy_model: keras.Model) -> tfdefense.defenses.APEGANPlusPlus:
    return tfdefense.defenses.APEGANPlusPlus(toy_model)


@pytest.fixture(scope="session")
def small_defense(toy_model: keras.Model) -> tfdefense.defenses.BitDepth:
    """A defence without networks, which is exported quickly."""
    return tfdefense.defenses.BitDepth(toy_model)


@pytest.fixture(scope="session")
def exported(served_defense, tmp_path_factory) -> Path:
    """SavedModel `apeganpp/1`, with class names."""
    directory = tmp_path_factory.mktemp("models") / "apeganpp"
    return export(served_defense, directory, facts=ModelFacts(CLASS_NAMES))


@pytest.fixture(scope="session")
def exported_tflite(served_defense, tmp_path_factory) -> Path:
    """TFLite model `1`, float32."""
    return export(served_defense, tmp_path_factory.mktemp("tflite"), Variant("tflite"))


@pytest.fixture(scope="session")
def pngs(toy_images: np.ndarray) -> np.ndarray:
    """The toy images as PNG files: an object array of bytes."""
    return np.array([encode_png(image) for image in toy_images], object)


def encode_png(image: np.ndarray) -> bytes:
    return tf.io.encode_png(np.uint8(np.round(255 * image))).numpy()


@pytest.fixture(scope="session")
def exported_int8(served_defense, toy_split, tmp_path_factory) -> Path:
    """TFLite model `1`, int8, compared with its defence on the toy images."""
    facts = ModelFacts(test_images=toy_split)
    variant = Variant("tflite", "int8")
    return export(served_defense, tmp_path_factory.mktemp("int8"), variant, facts=facts)
