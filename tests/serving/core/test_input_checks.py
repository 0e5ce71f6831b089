"""Images that a served model takes, and images that it rejects."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import SHAPE
from tests.serving.conftest import encode_png
from tfdefense.data.core.resizing import resize_images
from tfdefense.errors import UserError
from tfdefense.serving import open_model


@pytest.fixture(scope="module")
def model(exported):
    return open_model(exported)


def test_encoded_images_give_the_outputs_of_the_same_arrays(model, toy_images, pngs):
    arrays = np.float32(np.round(255 * toy_images) / 255)
    expected = model.predict("serving_default", arrays)
    found = model.predict("serving_bytes", pngs)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1"])
def test_images_of_other_modes_become_grey(model, toy_images, mode, tmp_path):
    pixels = np.uint8(np.round(255 * (toy_images[0, ..., 0] > 0.5)))
    Image.fromarray(pixels).convert(mode).save(tmp_path / "image", "PNG")
    encoded = np.array([(tmp_path / "image").read_bytes()], object)
    found = model.predict("serving_bytes", encoded)
    expected = model.predict("serving_default", np.float32(pixels[None, ..., None] / 255))
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-5)


def test_encoded_images_are_resized_like_training_images(model):
    large = np.random.default_rng(0).integers(0, 256, (1, 30, 25, 1), np.uint8)
    small = resize_images(large, SHAPE[:2])
    found = model.predict("serving_bytes", np.array([tf.io.encode_png(large[0]).numpy()], object))
    expected = model.predict("serving_default", np.float32(small / 255))
    np.testing.assert_allclose(found["purified"], expected["purified"], atol=1e-6)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda encoded: encoded[: len(encoded) // 2], "Invalid PNG data"),
        (
            lambda encoded: b"not an image",
            "image_bytes: 12 bytes given that are neither PNG nor JPEG",
        ),
        (lambda encoded: b"", "image_bytes: 0 bytes given"),
    ],
)
def test_damaged_files_are_rejected(model, toy_images, damage, message):
    good = encode_png(toy_images[0])
    with pytest.raises(UserError, match=message):
        model.predict("serving_bytes", np.array([good, damage(good)], object))


@pytest.mark.parametrize(("size", "is_allowed"), [((4096, 4096), True), ((4097, 4096), False)])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_small_files_of_huge_images_are_rejected(model, size, is_allowed, file_format):
    file = io.BytesIO()
    Image.new("L", size).save(file, file_format)
    encoded = np.array([file.getvalue()], object)
    if is_allowed:
        assert model.predict("serving_bytes", encoded)["classes"].shape == (1,)
        return
    message = "an image of 16781312 pixels given, at most 16777216 allowed"
    with pytest.raises(UserError, match=message):
        model.predict("serving_bytes", encoded)


def test_any_batch_size_from_one_is_allowed(model, toy_images):
    for count in (1, 5):
        outputs = model.predict("serving_default", toy_images[:count])
        assert outputs["purified"].shape == (count, *SHAPE)
        assert outputs["classes"].shape == (count,)
    with pytest.raises(UserError, match="images: 0 given, 1 to 4096 allowed in one request"):
        model.predict("serving_default", toy_images[:0])
