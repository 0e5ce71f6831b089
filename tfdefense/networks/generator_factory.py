"""Generators (the networks that purify images) by name."""

import keras

from tfdefense.errors import require, unknown_name
from tfdefense.networks.encoder_decoder import EncoderDecoderGenerator
from tfdefense.networks.pixel_thresholds import PixelThresholds
from tfdefense.networks.small_unet import SmallUNet
from tfdefense.networks.unet import UNet

GENERATORS = ("encoder_decoder", "unet", "small_unet")


def make_generator(
    name: str,
    image_shape: tuple[int, int, int],
    levels: int | None = None,
    widths: tuple[int, ...] = (32, 64, 128),
    thresholds: int = 0,
) -> keras.Model:
    """Return a built network from images to images, float32 [N, H, W, C] in [0, 1].

    Args:
      name: "encoder_decoder" (the generator of APE-GAN++), "unet" (the generator of the conditional
        GAN), or "small_unet" (no batch normalisation).
      image_shape: (H, W, C).
      levels: for "unet", the number of halvings of the image; None means down to one pixel.
      widths: for "small_unet", the number of filters of each level, from the full size down.
      thresholds: the number of `PixelThresholds` per channel before the network; 0 for none.
    """
    height, width, channels = image_shape
    if name == "unet":
        generator = UNet(channels, levels, (height, width))
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
    """Check the arguments of `make_generator`.

    Raises:
      UserError: an unknown name, or a number out of range.
    """
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
