"""Range and normalization of the images that a custom classifier takes."""

import dataclasses
from typing import Any

import keras

from tfdefense.errors import require


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

    Raises:
      UserError: too many numbers, numbers out of order, or a standard deviation that is not positive.
    """

    input_range: tuple[float, ...] = (0.0, 1.0)
    input_mean: tuple[float, ...] = ()
    input_std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, tuple(map(float, getattr(self, field.name))))
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

    def make_layer(self, channels: int) -> keras.Layer | None:
        """Return the layer that converts images with `channels` channels; None if nothing changes.

        Raises:
          UserError: the number of means or standard deviations does not fit the channels.
        """
        means = self._per_channel("input_mean", channels, 0.0)
        stds = self._per_channel("input_std", channels, 1.0)
        low, high = self.input_range
        scales = [(high - low) / std for std in stds]
        offsets = [(low - mean) / std for mean, std in zip(means, stds, strict=True)]
        if set(scales) == {1.0} and set(offsets) == {0.0}:
            return None
        return keras.layers.Rescaling(scales, offsets, name="input_format")

    def settings(self) -> dict[str, Any]:
        """Return flag name -> value of the fields that differ from images in [0, 1]."""
        plain = InputFormat()
        return {
            name: list(value)
            for name, value in dataclasses.asdict(self).items()
            if value != getattr(plain, name)
        }

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
