"""Generators (the networks that purify images) by name."""

import dataclasses

import keras

from tfdefense.errors import require, unknown_name
from tfdefense.networks.encoder_decoder import EncoderDecoderGenerator
from tfdefense.networks.pixel_thresholds import PixelThresholds
from tfdefense.networks.residual_unet import ResidualUNet
from tfdefense.networks.small_unet import SmallUNet
from tfdefense.networks.unet import UNet

GENERATORS = ("encoder_decoder", "unet", "small_unet", "residual_unet")
WITH_WIDTHS = ("small_unet", "residual_unet")


@dataclasses.dataclass(frozen=True)
class GeneratorArchitecture:
    """A generator's name and sizes.

    Attributes:
      name: "encoder_decoder" (the generator of APE-GAN++), "unet" (the generator of the conditional
        GAN), "small_unet", or "residual_unet". The last two have no batch normalization.
      levels: for "unet", the number of halvings of the image; None means down to one pixel.
      widths: for "small_unet" and "residual_unet", the number of filters of each level, from the
        full size down.
      blocks: for "residual_unet", the number of residual blocks of each level; None means
        `default_blocks`.
      thresholds: the number of `PixelThresholds` per channel before the network; 0 for none.
    """

    name: str
    levels: int | None = None
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] | None = None
    thresholds: int = 0


def make_generator(
    architecture: GeneratorArchitecture, image_shape: tuple[int, int, int]
) -> keras.Model:
    """Return a built network from images to images, float32 [N, H, W, C] in [0, 1].

    Args:
      architecture: see `check_generator`.
      image_shape: (H, W, C).
    """
    height, width, channels = image_shape
    name, widths, blocks = architecture.name, architecture.widths, architecture.blocks
    if name == "unet":
        generator = UNet(channels, architecture.levels, (height, width))
    elif name == "small_unet":
        generator = SmallUNet(channels, widths)
    elif name == "residual_unet":
        generator = ResidualUNet(channels, widths, blocks or default_blocks(widths))
    else:
        generator = EncoderDecoderGenerator(channels=channels)
    if architecture.thresholds:
        thresholds = PixelThresholds(architecture.thresholds)
        return keras.Sequential([keras.Input(image_shape), thresholds, generator])
    generator.build((None, *image_shape))
    return generator


def check_generator(architecture: GeneratorArchitecture) -> None:
    """Check the sizes of a generator.

    Raises:
      UserError: an unknown name, or a number out of range.
    """
    name, levels, widths = architecture.name, architecture.levels, architecture.widths
    if name not in GENERATORS:
        raise unknown_name("--generator", name, GENERATORS)
    require(levels is None or 1 <= levels <= 8, f"--levels={levels}: 1 to 8 needed.")
    require(
        levels is None or name == "unet", f"--levels={levels}: only --generator=unet has levels."
    )
    require(
        len(widths) >= 2 and min(widths) >= 1,
        f"--widths={_join(widths)}: two or more numbers from 1 on needed.",
    )
    blocks = architecture.blocks
    require(
        name != "residual_unet"
        or blocks is None
        or (len(blocks) == len(widths) and min(blocks) >= 0),
        f"--blocks={_join(blocks or ())}: {len(widths)} numbers from 0 on needed, as many as --widths"
        " has.",
    )
    thresholds = architecture.thresholds
    require(0 <= thresholds <= 64, f"--thresholds={thresholds}: 0 to 64 needed.")


def check_new_generator(architecture: GeneratorArchitecture, channels: int) -> None:
    """Check that no level of a generator is narrower than the image. Older runs may have one.

    Raises:
      UserError: a level with fewer filters than the image has channels.
    """
    widths = architecture.widths
    require(
        architecture.name not in WITH_WIDTHS or min(widths) >= channels,
        f"--widths={_join(widths)}: images with {channels} channels given, {channels} or more"
        " filters needed at each resolution.",
    )


def default_blocks(widths: tuple[int, ...]) -> tuple[int, ...]:
    """Return the residual blocks of each level: none at full size, one at each other level."""
    return (0, *[1] * (len(widths) - 1))


def _join(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
