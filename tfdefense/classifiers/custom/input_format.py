"""What a classifier of one's own wants images to be, where everything else here wants [0, 1]."""

import dataclasses
from typing import Any

import keras

from tfdefense.errors import require


@dataclasses.dataclass(frozen=True)
class InputFormat:
    """How images in [0, 1] become what a classifier takes: `(low + (high - low) * image - mean) / std`.

    The change is a layer in front of the classifier, so attacks go on in [0, 1] and through it.

    Attributes:
      input_range: (low, high), what black and white are; (0, 255) for images as bytes.
      input_mean, input_std: subtracted and divided by after that, one number for each channel or one for
        all; none for no standardisation.

    Raises:
      UserError: numbers that are none, too many or out of order.
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
            f"--input_range={_listed(self.input_range)}: two numbers needed, low before high, such as"
            " 0,255 or -1,1.",
        )
        require(
            all(value > 0 for value in self.input_std),
            f"--input_std={_listed(self.input_std)}: numbers above 0 needed.",
        )

    def layer(self, channels: int) -> keras.Layer | None:
        """The layer that makes the change for images of so many channels; None where there is none."""
        means = self._per_channel("input_mean", channels, 0.0)
        stds = self._per_channel("input_std", channels, 1.0)
        low, high = self.input_range
        scales = [(high - low) / std for std in stds]
        offsets = [(low - mean) / std for mean, std in zip(means, stds, strict=True)]
        if set(scales) == {1.0} and set(offsets) == {0.0}:
            return None
        return keras.layers.Rescaling(scales, offsets, name="input_format")

    def settings(self) -> dict[str, Any]:
        """What differs from images in [0, 1], by flag name."""
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
            f"--{name}={_listed(values)}: {len(values)} numbers given, 1 or {channels} needed (one for"
            " each channel).",
        )
        return list(values or [default]) * (1 if len(values) == channels else channels)


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
