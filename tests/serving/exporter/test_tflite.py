"""TFLite models, and the checks that their client makes."""

import numpy as np
import pytest

from tfdefense.errors import UserError
from tfdefense.serving import Variant, export, open_model


def assert_agrees_and_checks(path, expected, toy_images, pngs, atol):
    """Check the files, the logits for arrays and for files, and the rejection of a wrong range."""
    assert {file.name for file in path.iterdir()} == {
        "model.tflite",
        "class_names.json",
        "model_card.md",
    }
    model = open_model(path.parent)
    found = model.predict("serving_default", toy_images)
    np.testing.assert_allclose(found["logits"], expected, atol=atol)
    found = model.predict("serving_bytes", pngs)
    np.testing.assert_allclose(found["logits"], expected, atol=atol + 0.05)
    with pytest.raises(UserError, match=r"\[0, 1\] needed"):
        model.predict("serving_default", 255 * toy_images)


@pytest.fixture(scope="module")
def expected(served_defense, toy_images):
    return np.asarray(served_defense.defend()(toy_images))


@pytest.mark.slow
def test_float32_agrees_with_the_defence(exported_tflite, expected, toy_images, pngs):
    assert_agrees_and_checks(exported_tflite, expected, toy_images, pngs, 1e-4)


@pytest.mark.slow
def test_float16_agrees_with_the_defence(served_defense, expected, toy_images, pngs, tmp_path):
    path = export(served_defense, tmp_path, Variant("tflite", "float16"))
    assert_agrees_and_checks(path, expected, toy_images, pngs, 0.01)


@pytest.mark.slow
def test_int8_agrees_with_the_defence(exported_int8, expected, toy_images, pngs):
    assert_agrees_and_checks(exported_int8, expected, toy_images, pngs, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 8, 128])
def test_every_output_has_the_batch_first(exported_tflite, exported_int8, toy_images, count):
    images = np.tile(toy_images, (6, 1, 1, 1))[:count]
    for path in (exported_tflite, exported_int8):
        for name, values in open_model(path).predict("serving_default", images).items():
            assert len(values) == count, name
