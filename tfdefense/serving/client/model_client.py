"""A model that answers requests: here, or behind a server."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tfdefense.errors import UserError, reason_of, require

# What `bin/export` writes, and what the client needs of it.
_NEEDED = ("purified", "classes", "probabilities", "perturbation_norm")

_ATTEMPTS = 4


class Refused(UserError):
    """The model found something wrong with what it was asked; another request may do."""


class Unreachable(Exception):
    """No answer from the server, this time."""


class ServedModel(Protocol):
    """What `LocalModel`, `GrpcModel` and `RestModel` have in common.

    Attributes:
      place: where it is, for messages.
      version: what tells its answers from those of another model.
      image_shape: [H, W, C] of the images that it takes.
      class_names: K names; none where they are not known, as behind a server.
    """

    place: str
    version: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """The answers of one signature to its one input, by name.

        Raises:
          Refused: the model refuses these values, and says why.
          UserError: there is no such signature; the server is not there, or answers otherwise.
        """
        ...


def image_shape_of(
    outputs: dict[str, tuple[int, ...]], inputs: dict[str, tuple[int, ...]], place: str
) -> tuple[int, int, int]:
    """[H, W, C] from the `serving_default` signature of a model that was exported here.

    Args:
      outputs, inputs: shapes of what the signature gives and takes, by name.
      place: where the model is, for the message.

    Raises:
      UserError: it is another kind of model.
    """
    missing = [name for name in _NEEDED if name not in outputs]
    ours = not missing and list(inputs) == ["images"] and len(outputs["purified"]) == 4
    require(
        ours,
        f"{place}: not a model of bin/export: its serving_default takes {_listed(inputs)} and gives {_listed(outputs)};"
        f" images, and {', '.join(_NEEDED)}, needed.",
    )
    # Python's own loader leaves open what the checks of the graph ask; TFLite, what convolutions make.
    (taken,) = inputs.values()
    return tuple((outputs["purified"] if None in taken else taken)[1:])


def refusal(error: Exception | str) -> str:
    """The sentence of a check in the graph, without what TensorFlow puts around it."""
    inside = str(error).partition("assertion failed: [")[2]
    return inside.partition("]\n")[0].removesuffix("]") if inside else reason_of(error)


def patiently(call: Callable[[], Any], place: str, name: str) -> Any:
    """What `call` gives; tried again for some seconds while it raises `Unreachable`, as when a server restarts.

    Raises:
      UserError: it raises that to the end.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except Unreachable:
            time.sleep(0.5 * 2**attempt)
    raise UserError(
        f"{place}: no server answers there. To start one: docker run -p 8500:8500 -p 8501:8501 -v $PWD/models/{name}:/models/{name}"
        f" -e MODEL_NAME={name} tensorflow/serving (gRPC is at HOST:8500, REST at http://HOST:8501)."
    )


def _listed(names: dict) -> str:
    return ", ".join(sorted(names)) or "nothing"
