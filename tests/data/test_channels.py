"""Grey images as colour and colour images as grey: `--channels`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfdefense
from tests.data.test_image_folder import save
from tfdefense.data import DataOptions
from tfdefense.data.core.channels import convert_channels
from tfdefense.errors import UserError
from tfdefense.experiments.inputs import DataConfig
from tfdefense.training.stored_config import StoredConfig

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (12, 6, 8, 3), np.uint8)
GREYS = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in COLOURS])


def load(name, channels, data_dir=None):
    return tfdefense.data.load_with_options(str(name), DataOptions(data_dir, channels=channels))


def sort(images):
    return np.sort(np.round(255 * np.asarray(images)).reshape(len(images), -1), axis=0)


def every_image(data):
    return np.concatenate([data.train.images, data.validation.images, data.test.images])


def test_arrays_have_the_luma_of_pillow():
    np.testing.assert_array_equal(convert_channels(COLOURS, 1)[..., 0], GREYS)
    assert convert_channels(np.full((1, 2, 2, 3), 255, np.uint8), 1).min() == 255
    assert convert_channels(COLOURS, None) is COLOURS


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_of_floating_point_keep_dtype_and_range(dtype):
    grey = convert_channels((COLOURS / 255).astype(dtype), 1)
    assert (grey.dtype, grey.shape) == (dtype, (12, 6, 8, 1))
    np.testing.assert_allclose(grey[..., 0], GREYS / 255, atol=0.003)
    assert convert_channels(np.ones((1, 2, 2, 3), dtype), 1).min() == 1
    np.testing.assert_array_equal(convert_channels(grey, 3), np.repeat(grey, 3, axis=-1))


def test_files_and_archives_are_converted_to_the_same_pixels(tmp_path):
    for number, image in enumerate(COLOURS):
        path = tmp_path / "pets" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    np.savez(tmp_path / "pets.npz", images=COLOURS, labels=np.arange(12) % 2)
    for name in (f"dir:{tmp_path / 'pets'}", f"npz:{tmp_path / 'pets.npz'}"):
        for channels, expected in ((1, GREYS), (3, COLOURS), (None, COLOURS)):
            data = load(name, channels)
            np.testing.assert_array_equal(sort(every_image(data)), sort(expected / 255))
            assert data.settings().get("channels") == channels


def test_grey_files_become_colour(tmp_path):
    for number in range(6):
        save(tmp_path / "ab"[number % 2] / f"{number}.png", 40 * number)
    data = load(f"dir:{tmp_path}", 3)
    assert data.image_shape == (6, 8, 3)
    assert np.ptp(every_image(data), axis=-1).max() == 0
    assert load(f"dir:{tmp_path}", None).image_shape == (6, 8, 1), "not those of the cache"


def test_images_of_tfds_are_converted(prepared):
    grey, colour = load("half", 1, prepared), load("half", None, prepared)
    assert grey.image_shape == (8, 8, 1)
    expected = convert_channels(np.round(255 * colour.test.images).astype(np.uint8), 1)
    np.testing.assert_array_equal(np.round(255 * grey.test.images), expected)
    options = DataOptions(prepared, (6, 10), channels=3)
    assert tfdefense.data.load_with_options("mixed", options).image_shape == (6, 10, 3)


def test_a_run_stores_the_channels_and_older_runs_have_none():
    config = DataConfig("npz:x.npz", channels=3)
    assert config.to_settings() == {"dataset": "npz:x.npz", "channels": 3}
    for settings, expected in (
        (config.to_settings(), config),
        ({"dataset": "npz:x.npz"}, DataConfig("npz:x.npz")),
    ):
        text = StoredConfig("classifier", settings, {}).to_json()
        assert DataConfig.from_stored(StoredConfig.from_json(text, Path("x"))) == expected


@pytest.mark.parametrize(
    ("name", "channels", "message"),
    [
        ("npz:x.npz", 2, r"--channels=2: 1 \(grey\) or 3 \(colour\) needed"),
        ("digits", 3, "--dataset=digits: has .* --channels is not allowed"),
    ],
)
def test_errors_name_channels_that_are_not_possible(name, channels, message):
    with pytest.raises(UserError, match=message):
        load(name, channels)
