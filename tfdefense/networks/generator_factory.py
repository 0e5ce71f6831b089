"""The networks that purify, by name."""

import keras

from tfdefense.errors import require, unknown_name
from tfdefense.networks.generator import EncoderDecoderGenerator
from tfdefense.networks.small_unet import SmallUNet
from tfdefense.networks.thresholds import PixelThresholds
from tfdefense.networks.unet import UNet

GENERATORS = ("encoder_decoder", "unet", "small_unet")


def make_generator(
    name: str,
    image_shape: tuple[int, int, int],
    levels: int | None = None,
    widths: tuple[int, ...] = (32, 64, 128),
    thresholds: int = 0,
) -> keras.Model:
    """A network from images to images, built.

    Args:
      name: "encoder_decoder", the first paper's; "unet", the second's; or "small_unet", which has no batch normalisation.
      image_shape: [H, W, C].
      levels: how often a U-Net halves the image; None means down to one pixel.
      widths: filters of a small U-Net, from the full size down.
      thresholds: that each pixel is held against before the network sees it; 0 for none, as in the papers.
    """
    *size, channels = image_shape
    if name == "unet":
        generator = UNet(channels, levels, tuple(size))
    elif name == "small_unet":
        generator = SmallUNet(channels, widths)
    else:
        generator = EncoderDecoderGenerator(channels=channels)
    if thresholds:
        return keras.Sequential([keras.Input(image_shape), PixelThresholds(thresholds), generator])
    generator.build((None, *image_shape))
    return generator


def check_generator(
    name: str, levels: int | None, widths: tuple[int, ...], thresholds: int
) -> None:
    """Raises `UserError` unless `make_generator` can make a network of these."""
    if name not in GENERATORS:
        raise unknown_name("--generator", name, GENERATORS)
    require(levels is None or 1 <= levels <= 8, f"--levels={levels}: 1 to 8 needed.")
    require(
        levels is None or name == "unet", f"--levels={levels}: only --generator=unet has levels."
    )
    require(
        len(widths) >= 2 and min(widths) >= 1,
        f"--widths={','.join(map(str, widths))}: two or more numbers from 1 on needed.",
    )
    require(0 <= thresholds <= 64, f"--thresholds={thresholds}: 0 to 64 needed.")
