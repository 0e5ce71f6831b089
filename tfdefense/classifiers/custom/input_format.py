"""Range and normalization of the images that a custom classifier takes."""

import dataclasses
from typing import Any

import keras

from tfdefense.errors import require

PRESETS = ("caffe", "torch", "tf", "bgr")
# Of ImageNet, for red, green and blue, as in keras.applications.imagenet_utils.
_CAFFE_MEANS = (123.68, 116.779, 103.939)  # Of images in [0, 255].
_TORCH_MEANS = (0.485, 0.456, 0.406)  # Of images in [0, 1].
_TORCH_DEVIATIONS = (0.229, 0.224, 0.225)
_NUMBERS = ("input_range", "input_mean", "input_std")


@keras.saving.register_keras_serializable("tfdefense")
class ReversedRescaling(keras.layers.Rescaling):
    """Layer that scales images and reverses the order of their channels, from RGB to BGR."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Return images [N, H, W, C] in the reverse order of channels."""
        return super().call(inputs)[..., ::-1]


@dataclasses.dataclass(frozen=True)
class InputFormat:
    """Conversion of images in [0, 1]: `(low + (high - low) * image - mean) / std`.

    A layer in front of the classifier computes it, so attacks and defences work in [0, 1], and
    gradients pass through it.

    Attributes:
      input_range: (low, high), the values of black and white; (0, 255) for images as bytes.
      input_mean: subtracted after the change of range: one number per channel, or one for all
        channels; () subtracts nothing.
      input_std: divides after that: one number above 0 per channel, or one for all channels; ()
        divides by nothing.
      input_preset: a convention of `preprocess_input` in Keras Applications, in place of the others:
        "caffe" (blue, green, red in [0, 255], minus ImageNet's means), "torch" (standardized with
        ImageNet's means and deviations) or "tf" ([-1, 1]). "bgr" (blue, green, red, as OpenCV reads
        images) is not in place of the others: means and deviations are in that order. None for none.

    Raises:
      UserError: too many numbers, numbers out of order, a standard deviation that is not positive, an
        unknown preset, or another preset than "bgr" together with numbers.
    """

    input_range: tuple[float, ...] = (0.0, 1.0)
    input_mean: tuple[float, ...] = ()
    input_std: tuple[float, ...] = ()
    input_preset: str | None = None

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        ordered = len(self.input_range) == 2 and self.input_range[0] < self.input_range[1]
        require(
            ordered,
            f"--input_range={_format_numbers(self.input_range)}: two numbers needed, low before high, such as"
            " 0,255 or -1,1.",
        )
        require(
            all(value > 0 for value in self.input_std),
            f"--input_std={_format_numbers(self.input_std)}: numbers above 0 needed.",
        )
        if self.input_preset is not None:
            self._check_preset(self.input_preset)

    def make_layer(self, channels: int) -> keras.Layer | None:
        """Return the layer that converts images with `channels` channels; None if nothing changes.

        Raises:
          UserError: the number of means or standard deviations does not fit the channels, or the
            preset is for colour images.
        """
        if self.input_preset not in (None, "bgr"):
            return self._make_preset_layer(channels)
        means = self._per_channel("input_mean", channels, 0.0)
        stds = self._per_channel("input_std", channels, 1.0)
        low, high = self.input_range
        scales = [(high - low) / std for std in stds]
        offsets = [(low - mean) / std for mean, std in zip(means, stds, strict=True)]
        if self.input_preset == "bgr":
            self._require_colour(channels)
            return ReversedRescaling(scales[::-1], offsets[::-1], name="input_format")
        if set(scales) == {1.0} and set(offsets) == {0.0}:
            return None
        return keras.layers.Rescaling(scales, offsets, name="input_format")

    def flags(self) -> str:
        """Return the flags that give this format, "--input_range=0,255"."""
        values = {
            name: value if isinstance(value, str) else _format_numbers(value)
            for name, value in self.settings().items()
        }
        return " ".join(
            f"--{name}={value}" for name, value in (values or {"input_range": "0,1"}).items()
        )

    def settings(self) -> dict[str, Any]:
        """Return flag name -> value of the fields that differ from images in [0, 1]."""
        plain = InputFormat()
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if value != getattr(plain, name)
        }

    def _check_preset(self, preset: str) -> None:
        require(
            preset in PRESETS,
            f"--input_preset={preset}: one of {', '.join(PRESETS)} needed.",
        )
        others = [f"--{name}" for name in self.settings() if name != "input_preset"]
        require(
            not others or preset == "bgr",
            f"--input_preset={preset}: replaces range, mean and deviation; leave out"
            f" {', '.join(others)}.",
        )

    def _make_preset_layer(self, channels: int) -> keras.Layer:
        if self.input_preset == "tf":
            return keras.layers.Rescaling(2.0, -1.0, name="input_format")
        self._require_colour(channels)
        if self.input_preset == "caffe":
            offsets = [-mean for mean in _CAFFE_MEANS]
            return ReversedRescaling(255.0, offsets, name="input_format")
        standardized = InputFormat((0, 1), _TORCH_MEANS, _TORCH_DEVIATIONS)
        return standardized.make_layer(channels)

    def _require_colour(self, channels: int) -> None:
        require(
            channels == 3,
            f"--input_preset={self.input_preset}: is for images with 3 channels, the data has {channels}.",
        )

    def _per_channel(self, name: str, channels: int, default: float) -> list[float]:
        values = getattr(self, name)
        require(
            len(values) in (0, 1, channels),
            f"--{name}={_format_numbers(values)}: {len(values)} numbers given, 1 or {channels} needed (one per"
            " channel).",
        )
        return list(values or [default]) * (1 if len(values) == channels else channels)


def _format_numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
