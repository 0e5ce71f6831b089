import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfdefense.classifiers import InputFormat
from tfdefense.errors import UserError

BYTES = InputFormat((0, 255))


def test_colour_images_are_standardized_per_channel():
    chosen = InputFormat((0, 255), input_mean=(120, 110, 100), input_std=(60, 50, 40))
    images = np.random.default_rng(0).random((4, 5, 5, 3)).astype(np.float32)
    expected = (255 * images - [120, 110, 100]) / [60, 50, 40]
    np.testing.assert_allclose(chosen.make_layer(3)(images), expected, rtol=1e-5, atol=1e-5)
    assert InputFormat().make_layer(3) is None
    assert chosen.settings() == {
        "input_range": [0.0, 255.0],
        "input_mean": [120.0, 110.0, 100.0],
        "input_std": [60.0, 50.0, 40.0],
    }


def test_bytes_are_restored_exactly():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = np.divide(every, 255, dtype=np.float32)
    np.testing.assert_allclose(BYTES.make_layer(1)(images)[0], every[0], atol=2e-5)


@pytest.mark.parametrize(
    ("given", "channels", "message"),
    [
        ({"input_range": (255, 0)}, 1, r"--input_range=255,0: two numbers needed, low before high"),
        ({"input_range": (1,)}, 1, r"--input_range=1: two numbers"),
        ({"input_std": (0,)}, 1, r"--input_std=0: numbers above 0"),
        ({"input_mean": (1, 2)}, 3, r"--input_mean=1,2: 2 numbers given, 1 or 3 needed"),
    ],
)
def test_errors_name_bad_input_formats(given, channels, message):
    with pytest.raises(UserError, match=message):
        InputFormat(**given).make_layer(channels)


@pytest.mark.parametrize("preset", ["caffe", "torch", "tf"])
def test_presets_are_those_of_keras_applications(preset):
    images = np.random.default_rng(0).random((2, 5, 5, 3)).astype(np.float32)
    expected = keras.applications.imagenet_utils.preprocess_input(255 * images, mode=preset)
    chosen = InputFormat(input_preset=preset)
    np.testing.assert_allclose(chosen.make_layer(3)(images), expected, rtol=1e-5, atol=1e-4)
    assert chosen.settings() == {"input_preset": preset}
    assert chosen.flags() == f"--input_preset={preset}"


def test_images_in_the_order_of_opencv_have_a_range_and_numbers_in_that_order():
    images = np.random.default_rng(0).random((2, 5, 5, 3)).astype(np.float32)
    bgr = images[..., ::-1]
    np.testing.assert_array_equal(InputFormat(input_preset="bgr").make_layer(3)(images), bgr)
    chosen = InputFormat((0, 255), (100, 110, 120), (40, 50, 60), "bgr")
    expected = (255 * bgr - [100, 110, 120]) / [40, 50, 60]
    np.testing.assert_allclose(chosen.make_layer(3)(images), expected, rtol=1e-5, atol=1e-5)
    assert InputFormat(**chosen.settings()) == chosen
    flags = "--input_range=0,255 --input_preset=bgr"
    assert InputFormat((0, 255), input_preset="bgr").flags() == flags
    with pytest.raises(UserError, match=r"--input_preset=bgr: is for images with 3 channels"):
        InputFormat(input_preset="bgr").make_layer(1)


def test_errors_name_bad_presets():
    with pytest.raises(UserError, match=r"--input_preset=rgb: one of caffe, torch, tf, bgr needed"):
        InputFormat(input_preset="rgb")
    with pytest.raises(UserError, match=r"--input_preset=tf: .* leave out --input_range"):
        InputFormat((0, 255), input_preset="tf")
    with pytest.raises(UserError, match=r"--input_preset=caffe: is for images with 3 channels"):
        InputFormat(input_preset="caffe").make_layer(1)


numbers = st.floats(-300, 300, width=32)
deviations = st.floats(0.125, 300, width=32)


@st.composite
def input_formats(draw):
    """Return an input format for images with three channels."""
    low = draw(numbers)
    high = low + draw(st.floats(0.5, 500, width=32))
    means = draw(st.lists(numbers, min_size=3, max_size=3) | st.lists(numbers, max_size=1))
    stds = draw(st.lists(deviations, min_size=3, max_size=3) | st.lists(deviations, max_size=1))
    return InputFormat((low, high), tuple(means), tuple(stds))


@settings(max_examples=40, deadline=None)
@given(input_formats(), st.integers(0, 2**16))
def test_undoing_mean_deviation_and_range_gives_the_images_again(input_format, seed):
    images = np.random.default_rng(seed).random((2, 3, 4, 3), np.float32)
    layer = input_format.make_layer(3)
    converted = images if layer is None else layer(images).numpy()
    low, high = input_format.input_range
    mean = np.array(input_format.input_mean or (0.0,))
    std = np.array(input_format.input_std or (1.0,))
    restored = (converted * std + mean - low) / (high - low)
    largest = max(abs(low), abs(high), np.abs(mean).max())
    tolerance = 1e-6 * (1 + largest / (high - low))
    np.testing.assert_allclose(restored, images, rtol=0, atol=tolerance)


@settings(max_examples=40, deadline=None)
@given(input_formats())
def test_settings_restore_the_format(input_format):
    assert InputFormat(**input_format.settings()) == input_format


@settings(max_examples=20, deadline=None)
@given(input_formats())
def test_one_number_stands_for_all_channels(input_format):
    three = {
        name: tuple(value) * 3 if len(value) == 1 else value
        for name, value in input_format.settings().items()
    }
    images = np.full((1, 1, 1, 3), 0.25, np.float32)
    layers = [each.make_layer(3) for each in (input_format, InputFormat(**three))]
    one, other = (images if layer is None else layer(images) for layer in layers)
    np.testing.assert_array_equal(one, other)
