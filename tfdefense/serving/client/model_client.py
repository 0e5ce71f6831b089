"""Interface of all clients of an exported model, and the errors that their requests raise."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar, cast

import numpy as np

from tfdefense.data.core.class_labels import MAX_CLASSES
from tfdefense.data.core.file_listing import shorten_list
from tfdefense.errors import UserError, cut_text, require
from tfdefense.serving.client.output_checks import NEEDED_OUTPUTS, OutputRules

_ATTEMPTS = 4
_LARGEST_SIDE = 4096

T = TypeVar("T")
# Shape of each input or output of a signature, by name; None is an open size, () an open rank.
Shapes = Mapping[str, tuple[int | None, ...]]


class RequestRejected(UserError):
    """Rejection of a request by the model, because of the values in it."""


class ServerUnreachable(Exception):
    """Failed attempt to reach the server; a later attempt may succeed."""


class ModelClient(Protocol):
    """Client of one exported model, in this process or behind a server.

    Attributes:
      location: the flag that names the model, such as "--server=localhost:8500"; it starts error
        messages.
      version: text that differs between models, and between versions of a model; behind a server,
        only as far as name and version number do.
      image_shape: [H, W, C] of the images that the model takes.
      class_names: K names; empty where they are unknown, as behind a server.
      has_suspicion: true if the model has the output `suspicion`; those of 0.2.0 have none.
    """

    location: str
    version: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    has_suspicion: bool

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """Run one signature on its only input and return its outputs by name.

        Args:
          signature: such as "serving_default".
          values: float32 [N, H, W, C] in [0, 1]; for "serving_bytes" an object array [N] of PNG or
            JPEG files.

        Raises:
          RequestRejected: the model rejects these values; the message gives its reason.
          UserError: there is no such signature, or the server does not answer or fails.
        """
        ...


def rules_from_signature(inputs: Shapes, outputs: Shapes, location: str) -> OutputRules:
    """Return the rules for the outputs of an exported model, from its `serving_default` signature.

    Args:
      inputs, outputs: shapes of the signature's inputs and outputs, by name.
      location: start of error messages.

    Raises:
      UserError: `bin/export` did not write this model, or it takes images of an impossible size.
    """
    image_shape = _image_shape(inputs, outputs, location)
    return OutputRules(location, image_shape, _num_classes(outputs), "suspicion" in outputs)


def _image_shape(inputs: Shapes, outputs: Shapes, location: str) -> tuple[int, int, int]:
    missing = [name for name in NEEDED_OUTPUTS if name not in outputs]
    has_images = list(inputs) == ["images"] and len(inputs["images"]) == 4
    is_ours = not missing and has_images and len(outputs["purified"]) == 4
    require(
        is_ours,
        f"{location}: not a model of bin/export: its serving_default takes {_names(inputs)} and returns {_names(outputs)};"
        f" images, and {', '.join(NEEDED_OUTPUTS)}, needed.",
    )
    # TensorFlow's Python loader leaves the input sizes open; TFLite leaves the output sizes open.
    (input_shape,) = inputs.values()
    shape = outputs["purified"] if None in input_shape else input_shape
    _, height, width, channels = (int(size or 0) for size in shape)
    require(
        min(height, width) > 0 and max(height, width) <= _LARGEST_SIDE and channels in (1, 3),
        f"{location}: takes images of {height}x{width}x{channels}; 1 or 3 channels and sides of at most"
        f" {_LARGEST_SIDE} are needed.",
    )
    return height, width, channels


def _num_classes(outputs: Shapes) -> int | None:
    """Return K; None if the signature leaves it open."""
    shape = outputs["probabilities"]
    declared = int(shape[1] or 0) if len(shape) == 2 else 0
    return declared if 0 < declared <= MAX_CLASSES else None


def not_a_server_error(location: str, reason: str) -> UserError:
    """Return the error for something that does not answer as TF Serving does."""
    return UserError(f"{location}: not a TF Serving server: {reason}.")


def deadline_error(location: str, seconds: float) -> UserError:
    """Return the error for an answer that is not complete in time."""
    return UserError(
        f"{location}: no complete answer within {seconds:g} seconds. If the server is only slow, give a"
        " smaller --batch_size or a larger --timeout."
    )


def call_within(call: Callable[[], T], seconds: float) -> T:
    """Return the result of `call`, which another thread runs.

    The timeouts of sockets limit each byte, not the answer: a server could send one now and then for
    ever.

    Args:
      call: raises any exception.
      seconds: time for the call.

    Raises:
      TimeoutError: it has not returned in time. Its thread ends with the process.
    """
    results: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} seconds") from None
    if error is not None:
        raise error
    return cast(T, result)


def call_with_retries(call: Callable[[], T], location: str, name: str) -> T:
    """Return the result of `call`, repeated for a few seconds while the server cannot be reached.

    Args:
      call: raises `ServerUnreachable` if the server cannot be reached.
      location: start of the error message.
      name: name of the served model.

    Raises:
      UserError: the last attempt fails too.
    """
    reason = ""
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except ServerUnreachable as error:
            reason = cut_text(str(error))
            if attempt < _ATTEMPTS - 1:
                time.sleep(0.5 * 2**attempt)
    name = cut_text(name)
    raise UserError(
        f"{location}: no server answers. Start one with: docker run -p 8500:8500 -p 8501:8501"
        f" -v $PWD/models/{name}:/models/{name} -e MODEL_NAME={name} tensorflow/serving"
        f" (gRPC is at HOST:8500, REST at http://HOST:8501). The last attempt: {reason}."
    )


def _names(names: Iterable[str]) -> str:
    return shorten_list([cut_text(name) for name in sorted(names)]) or "nothing"
