"""What the library must know of a network under attack to build and to train it."""

import dataclasses
from collections.abc import Callable

import keras


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network by name, with the recipe that trains it.

    Attributes:
      name: as on the command line.
      build: (image_shape [H, W, C], num_classes) -> Keras model from images in [0, 1] to logits.
      learning_rate: Adam's, at the start; it falls to zero along a cosine.
      batch_size: examples a step.
      training_images: how many images it should see; `epochs_for` turns them into passes.
    """

    name: str
    build: Callable[[tuple[int, int, int], int], keras.Model]
    learning_rate: float = 1e-3
    batch_size: int = 128
    training_images: int = 300_000
