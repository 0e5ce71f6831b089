"""Definition of a classifier: a function that builds its network, and the recipes that train it."""

import dataclasses
from collections.abc import Callable

import keras

from tfdefense.errors import require
from tfdefense.training import epochs_to_show

ImageShape = tuple[int, int, int]
_MIN_EPOCHS = 3


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings that train a network, unless the command line changes them.

    Attributes:
      training_images: number of images to show, counting repetitions; `count_epochs` converts it.
      most_epochs: upper limit of the epochs, for small datasets.
      optimizer: "adam", or "sgd" with Nesterov momentum 0.9.
      schedule: "cosine": the learning rate falls to zero along a cosine, with SGD after a warm-up in
        the first 5 % of the steps; or "triangle": it rises from zero in the first 20 % of the steps
        and falls to zero in the others.
      learning_rate: the highest learning rate.
      weight_decay: the share of each kernel that is subtracted per step and unit of learning rate.
        Biases and normalization are not decayed.
      batch_size: examples per step.
      augmentation: name of an `Augmentation`.
      mirror: mirror images in every second epoch, where the data are known to keep their classes.
      cutout: side of the square that is cut out of each image, see `Augmentation`.
      label_smoothing: the share of the target probability that is spread over all classes, in [0, 1).
      average: momentum of a moving average of the weights, which is the trained network, in [0, 1);
        smaller in the first steps; 0 for none.
    """

    training_images: int = 300_000
    most_epochs: int = 60
    optimizer: str = "adam"
    schedule: str = "cosine"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 128
    augmentation: str = "none"
    mirror: bool = False
    cutout: int = 0
    label_smoothing: float = 0.0
    average: float = 0.0

    def count_epochs(self, count: int) -> int:
        """Return the number of epochs over `count` training images, at least 3."""
        return epochs_to_show(self.training_images, count, _MIN_EPOCHS, self.most_epochs)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network with a name and the recipes that train it.

    Attributes:
      name: its name on the command line.
      summary: a description in one line.
      build: (image_shape (H, W, C), num_classes) -> Keras model from images in [0, 1] to logits.
      grey: recipe for images with one channel.
      color: recipe for images with three channels.
    """

    name: str
    summary: str
    build: Callable[[ImageShape, int], keras.Model]
    grey: Recipe = Recipe()
    color: Recipe = Recipe(training_images=1_000_000, augmentation="shift", mirror=True)

    def recipe(self, image_shape: ImageShape) -> Recipe:
        """Return the recipe for images of this shape."""
        return self.grey if image_shape[-1] == 1 else self.color


def make_sgd_recipe(
    training_images: int,
    learning_rate: float,
    weight_decay: float,
    augmentation: str = "affine",
    *,
    mirror: bool = False,
) -> Recipe:
    """Return a recipe of a deep network with batch normalization: SGD with a cosine, and augmentation.

    Args:
      training_images, learning_rate, weight_decay, augmentation, mirror: see `Recipe`.
    """
    return Recipe(
        training_images=training_images,
        optimizer="sgd",
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        augmentation=augmentation,
        mirror=mirror,
    )


def make_fast_color_recipe(
    training_images: int, cutout: int = 0, label_smoothing: float = 0.0
) -> Recipe:
    """Return a recipe for colour images of a network with batch normalization, for few epochs.

    Page, "How to Train Your ResNet", 2018: a high learning rate that rises and falls in a line.

    Args:
      training_images, cutout, label_smoothing: see `Recipe`.
    """
    return Recipe(
        training_images=training_images,
        optimizer="sgd",
        schedule="triangle",
        learning_rate=0.2,
        weight_decay=5e-3,
        batch_size=256,
        augmentation="shift",
        mirror=True,
        cutout=cutout,
        label_smoothing=label_smoothing,
    )


def require_min_size(name: str, image_shape: ImageShape, minimum: int) -> None:
    """Raise `UserError` if images are too small for the network `name`."""
    require(
        min(image_shape[:2]) >= minimum,
        f"--classifier={name}: images of {image_shape} given, {minimum}x{minimum} or larger needed.",
    )
