"""Client of a model behind the REST port of TF Serving."""

import base64
import http.client
import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np

from tfdefense.errors import UserError
from tfdefense.serving.client.model_client import (
    RequestRejected,
    ServerUnreachable,
    call_with_retries,
    image_shape_from_signature,
)
from tfdefense.utils.graph_checks import rejection_reason

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
        outputs = self._call(f"{self._url}:predict", json.dumps(body).encode())["outputs"]
        # TF Serving leaves out the name of an output that is the only one.
        outputs = outputs if isinstance(outputs, dict) else {"purified": outputs}
        return {
            name: np.array(value, _DTYPES.get(name, np.float32)) for name, value in outputs.items()
        }

    def _read_metadata(self) -> tuple[tuple[int, int, int], str]:
        """Ask the server for the model's image shape and version."""
        answer = self._call(f"{self._url}/metadata")
        try:
            default = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
            inputs, outputs = _shapes(default["inputs"]), _shapes(default["outputs"])
            version = answer["model_spec"]["version"]
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{self.location}: not a TF Serving server: it answers {str(answer)[:100]}"
            ) from error
        shape = image_shape_from_signature(inputs, outputs, self.location)
        return shape, f"{self.name}/{version}"

    def _call(self, url: str, body: bytes | None = None) -> Any:
        def call_once() -> Any:
            try:
                with urllib.request.urlopen(url, body, timeout=self.timeout) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                message = _error_message(error)
                if error.code == 400:
                    raise RequestRejected(rejection_reason(message)) from error
                if error.code == 503:
                    raise ServerUnreachable(message) from error
                raise UserError(
                    f"{self.location}: model {self.name!r}: HTTP {error.code}: {message}"
                ) from error
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{self.location}: not a TF Serving server: its answer is not JSON."
                ) from error
            except ValueError as error:
                raise UserError(f"{self.location}: not a valid address: {error}.") from error
            except (OSError, http.client.HTTPException) as error:
                raise ServerUnreachable(str(error)) from error

        return call_with_retries(call_once, self.location, self.name)


def _shapes(tensors: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a signature's inputs or outputs as the metadata gives them, by name."""
    return {
        name: tuple(int(dimension["size"]) for dimension in tensor["tensor_shape"].get("dim", ()))
        for name, tensor in tensors.items()
    }


def _error_message(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
