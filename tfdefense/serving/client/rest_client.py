"""Client of a model behind the REST port of TF Serving."""

import base64
import functools
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfdefense.errors import UserError, require
from tfdefense.serving.client.model_client import (
    RequestRejected,
    ServerUnreachable,
    call_with_retries,
    call_within,
    image_shape_from_signature,
)
from tfdefense.serving.client.output_checks import largest_answer, require_sound_outputs
from tfdefense.utils.graph_checks import rejection_reason

_METADATA_BYTES = 16 * 2**20
_ERROR_BYTES, _ERROR_CHARACTERS = 2**20, 2000
_DTYPES = {"classes": np.int64, "refused": np.bool_}  # All other outputs are float32.


class RestClient:
    """Client of a model behind a REST port; see `ModelClient`.

    Args:
      address: "http://host:port".
      name: name under which the server serves the model.
      timeout: seconds to wait for an answer.

    Raises:
      UserError: no server answers, the server has no such model, or `bin/export` did not write the
        model.
    """

    def __init__(self, address: str, name: str, timeout: float = 60.0) -> None:
        self.location = f"--server={address}"
        self.name = name
        self.class_names: tuple[str, ...] = ()
        self.timeout = timeout
        self._url = f"{address.rstrip('/')}/v1/models/{name}"
        self.image_shape, self.version = self._read_metadata()

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """See `ModelClient`."""
        inputs = values.tolist()
        if values.dtype == object:
            inputs = [{"b64": base64.b64encode(encoded).decode()} for encoded in values]
        body = {"signature_name": signature, "inputs": inputs}
        limit = largest_answer(len(values), self.image_shape)
        answer = self._call(f"{self._url}:predict", json.dumps(body).encode(), limit)
        try:
            outputs = answer["outputs"]
            # TF Serving leaves out the name of an output that is the only one.
            outputs = outputs if isinstance(outputs, dict) else {"purified": outputs}
            arrays: dict[str, np.ndarray] = {
                name: np.array(value, _DTYPES.get(name, np.float32))
                for name, value in outputs.items()
            }
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._not_a_server(answer) from error
        require_sound_outputs(arrays, len(values), self.image_shape, self.location)
        return arrays

    def _read_metadata(self) -> tuple[tuple[int, int, int], str]:
        """Ask the server for the model's image shape and version."""
        answer = self._call(f"{self._url}/metadata", None, _METADATA_BYTES)
        try:
            default = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
            inputs, outputs = _shapes(default["inputs"]), _shapes(default["outputs"])
            version = answer["model_spec"]["version"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._not_a_server(answer) from error
        shape = image_shape_from_signature(inputs, outputs, self.location)
        return shape, f"{self.name}/{version}"

    def _not_a_server(self, answer: Any) -> UserError:
        return UserError(
            f"{self.location}: not a TF Serving server: it answers {str(answer)[:100]}"
        )

    def _call(self, url: str, body: bytes | None, limit: int) -> Any:
        """Return the JSON that the server answers, of at most `limit` bytes."""

        def call_once() -> Any:
            try:
                text = call_within(lambda: self._read(url, body, limit), self.timeout)
                return json.loads(text)
            except urllib.error.HTTPError as error:
                message = call_within(functools.partial(_error_message, error), self.timeout)
                if error.code == 400:
                    raise RequestRejected(rejection_reason(message)) from error
                if error.code == 503:
                    raise ServerUnreachable(message) from error
                raise UserError(
                    f"{self.location}: model {self.name!r}: HTTP {error.code}: {message}"
                ) from error
            except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
                raise UserError(
                    f"{self.location}: not a TF Serving server: its answer is not JSON."
                ) from error
            except UserError:
                raise
            except ValueError as error:
                raise UserError(f"{self.location}: not a valid address: {error}.") from error
            except (OSError, http.client.HTTPException) as error:
                raise ServerUnreachable(str(error)) from error

        return call_with_retries(call_once, self.location, self.name)

    def _read(self, url: str, body: bytes | None, limit: int) -> bytes:
        with _OPENER.open(urllib.request.Request(url, body), timeout=self.timeout) as response:
            content: bytes = response.read(limit + 1)
        require(
            len(content) <= limit,
            f"{self.location}: its answer is larger than {limit:,} bytes.",
        )
        return content


class _RefuseRedirects(urllib.request.HTTPRedirectHandler):
    """A server that was named must answer itself: images are not sent to a place that it names."""

    def redirect_request(self, *arguments: Any) -> None:
        """Return None, which makes a redirection an `HTTPError`."""


_OPENER = urllib.request.build_opener(_RefuseRedirects)


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a signature's inputs or outputs as the metadata gives them, by name."""
    return {
        name: tuple(int(dimension["size"]) for dimension in tensor["tensor_shape"].get("dim", ()))
        for name, tensor in tensors.items()
    }


def _error_message(error: urllib.error.HTTPError) -> str:
    text = error.read(_ERROR_BYTES).decode(errors="replace")
    try:
        return str(json.loads(text)["error"])[:_ERROR_CHARACTERS]
    except (ValueError, KeyError, TypeError, RecursionError):
        return text[:200]
