"""Model of 2x2 grey images in this process that counts the images it answers for."""

import io

import numpy as np
from PIL import Image

from tfdefense.serving.client.model_client import RequestRejected

SHAPE = (2, 2, 1)


class CountingModel:
    """Client that inverts images; see `ModelClient`.

    Args:
      version: text that differs between models.
      stop_after: requests until one is interrupted, as by Ctrl-C; None for never.
    """

    has_suspicion = False

    def __init__(self, version="m/1", stop_after=None):
        self.location, self.image_shape, self.class_names = "--model=m", SHAPE, ("a", "b")
        self.version, self.stop_after = version, stop_after
        self.requests = []

    @property
    def answered(self):
        return sum(self.requests)

    def predict(self, signature, values):
        if len(self.requests) == self.stop_after:
            raise KeyboardInterrupt
        images = np.stack([decode(each) for each in values]) if values.dtype == object else values
        self.requests.append(len(images))
        return {
            "purified": 1 - images,
            "classes": np.ones(len(images), np.int64),
            "probabilities": np.full((len(images), 2), 0.5, np.float32),
            "perturbation_norm": np.ones(len(images), np.float32),
        }


def decode(encoded):
    """Return a file as float32 [2, 2, 1]; a damaged file, or one of another size, is rejected."""
    try:
        pixels = np.asarray(Image.open(io.BytesIO(encoded)).convert("L"), np.float32) / 255
    except OSError as error:
        raise RequestRejected("a damaged image") from error
    if pixels.shape != SHAPE[:2]:
        raise RequestRejected("an image of another size")
    return pixels[..., None]


def write_image(path, value=0, size=SHAPE[:2]):
    """Write a grey image of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)
