"""What the library must know of a network under attack to build and to train it."""

import dataclasses
from collections.abc import Callable

import keras

from tfdefense.errors import require
from tfdefense.training import epochs_to_show

ImageShape = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained, where the command line does not say otherwise.

    Attributes:
      training_images: how many images it should see; `passes` turns them into passes, 3 or more.
      most_epochs: passes at most, for small datasets.
      optimizer: "adam", or "sgd" with Nesterov momentum 0.9. The rate falls to zero along a cosine.
      learning_rate: at its highest; SGD warms up to it during the first twentieth of the steps.
      weight_decay: share of each kernel taken off per step and unit of learning rate; biases and
        normalisation are spared.
      batch_size: examples a step.
      augmentation: "none", "shift", "shift_flip" or "affine", see `classifiers.augmentation`.
      label_smoothing: share of the target's probability that is spread over all classes.
    """

    training_images: int = 300_000
    most_epochs: int = 60
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 128
    augmentation: str = "none"
    label_smoothing: float = 0.0

    def passes(self, count: int) -> int:
        """How many passes over `count` training images it asks for."""
        return epochs_to_show(self.training_images, count, 3, self.most_epochs)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network by name, with the recipes that train it.

    Attributes:
      name: as on the command line.
      summary: what it is, in one line.
      build: (image_shape [H, W, C], num_classes) -> Keras model from images in [0, 1] to logits.
      grey, color: recipe for images of one channel, and of three.
    """

    name: str
    summary: str
    build: Callable[[ImageShape, int], keras.Model]
    grey: Recipe = Recipe()
    color: Recipe = Recipe(training_images=1_000_000, augmentation="shift_flip")

    def recipe(self, image_shape: ImageShape) -> Recipe:
        """The recipe for images of this shape."""
        return self.grey if image_shape[-1] == 1 else self.color


def make_sgd_recipes(
    grey_images: int, color_images: int, learning_rate: float, weight_decay: float
) -> dict[str, Recipe]:
    """`grey` and `color` of a deep network with batch normalisation: SGD, and augmentation for each."""
    sgd = Recipe(optimizer="sgd", learning_rate=learning_rate, weight_decay=weight_decay)
    return {
        "grey": dataclasses.replace(sgd, training_images=grey_images, augmentation="affine"),
        "color": dataclasses.replace(sgd, training_images=color_images, augmentation="shift_flip"),
    }


def require_min_size(name: str, image_shape: ImageShape, least: int) -> None:
    """Raises `UserError` for images that are too small for the network `name`."""
    require(
        min(image_shape[:2]) >= least,
        f"--classifier={name}: images of {image_shape} given, {least}x{least} or larger needed.",
    )
