"""Base class of the defences whose purifier is one generator, and the configuration of generators."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfdefense.defenses.core.augmenting_defense import AugmentationConfig
from tfdefense.defenses.core.hyperparameters import hyperparameter
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.errors import require
from tfdefense.networks.generator_factory import (
    WITH_WIDTHS,
    GeneratorArchitecture,
    check_generator,
    check_new_generator,
    default_blocks,
    make_generator,
)

# Hyperparameters of defences that only some generators have.
_ONLY_FOR = {
    "widths": WITH_WIDTHS,
    "blocks": ("residual_unet",),
    "auxiliary_weight": ("residual_unet",),
}


def select_values(recipe: Mapping[str, Any], generator: str) -> dict[str, Any]:
    """Return the values of a recipe without those of hyperparameters that a generator does not have.

    Args:
      recipe: name -> value.
      generator: name of the generator, which may be another one than that of the recipe.
    """
    return {
        name: value
        for name, value in recipe.items()
        if generator in _ONLY_FOR.get(name, (generator,))
    }


@dataclasses.dataclass(frozen=True)
class GeneratorConfig(AugmentationConfig):
    """Hyperparameters that all defences with a generator have.

    Raises:
      UserError: an unknown network, or a number out of range.
    """

    generator: str = hyperparameter(
        "encoder_decoder", "the paper's encoder_decoder, unet, small_unet or residual_unet"
    )
    levels: int | None = hyperparameter(
        None, "number of times that the U-Net halves the image (default: down to one pixel)"
    )
    widths: tuple[int, ...] = hyperparameter(
        (32, 64, 128),
        "filters of a small_unet or residual_unet at each resolution, the full one first",
    )
    blocks: tuple[int, ...] | None = hyperparameter(
        None,
        "residual blocks of a residual_unet at each resolution, the full one first (default: 0 at"
        " the full one, 1 at each other)",
        omit_default=True,
    )
    thresholds: int = hyperparameter(
        0,
        "number of learned thresholds that each pixel is compared with before the generator, such as"
        " 6; 0 for none, as in the papers",
    )
    average: float = hyperparameter(
        0.0,
        "momentum of a moving average of the generator's weights, such as 0.999, which replaces the"
        " weights after training; it is smaller in the first steps; 0 for none, as in the paper",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # The dataclass is frozen.
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.blocks is not None:
            object.__setattr__(self, "blocks", tuple(self.blocks))
        check_generator(self.architecture)
        for field in dataclasses.fields(self):
            given, generators = getattr(self, field.name), _ONLY_FOR.get(field.name, ())
            shown = ",".join(map(str, given)) if isinstance(given, tuple) else given
            require(
                given == field.default or not generators or self.generator in generators,
                f"--{field.name}={shown}: only with --generator={' or '.join(generators)}.",
            )
        if self.blocks == default_blocks(self.widths):  # One network has one set of settings.
            object.__setattr__(self, "blocks", None)
        average = self.average
        require(0 <= average < 1, f"--average={average}: 0 or more and below 1 is needed.")

    @property
    def architecture(self) -> GeneratorArchitecture:
        """The network and its sizes."""
        return GeneratorArchitecture(
            self.generator, self.levels, self.widths, self.blocks, self.thresholds
        )

    def make_generator(self, image_shape: tuple[int, int, int]) -> keras.Model:
        """Return a built generator for images of shape [H, W, C]."""
        return make_generator(self.architecture, image_shape)


class GeneratorDefense(LearnedDefense):
    """Defence whose purifier is one trained network, `generator`.

    A subclass creates `generator` in `__init__` and `generator_optimizer` in `prepare`.

    Attributes:
      generator: images float32 [N, H, W, C] in [0, 1] -> images of the same shape and range.
      generator_optimizer: optimizer of the generator; it maintains the average of the weights.
      preprocess: in a composition, the earlier defences, which change images before this one sees
        them; otherwise the identity.
    """

    config: Any  # A `GeneratorConfig`.
    generator: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    preprocess: Callable[[tf.Tensor], tf.Tensor] = staticmethod(tf.identity)

    @classmethod
    def check_new_training(cls, config: Any, image_shape: tuple[int, int, int]) -> None:
        super().check_new_training(config, image_shape)
        check_new_generator(config.architecture, image_shape[-1])

    def finish(self) -> None:
        """Replace the generator's weights by their moving average, if there is one."""
        if self.config.average:
            self.generator_optimizer.finalize_variable_values(self.generator.trainable_variables)

    def networks(self) -> dict[str, keras.Layer]:
        return {"generator": self.generator}

    def purify(self, images: tf.Tensor) -> tf.Tensor:
        return self.generator(images, training=False)
