"""A model behind TF Serving's REST port."""

import base64
import http.client
import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np

from tfdefense.errors import UserError
from tfdefense.serving.client.model_client import (
    Refused,
    Unreachable,
    image_shape_of,
    patiently,
    refusal,
)

_TYPES = {"classes": np.int64, "refused": np.bool_}


class RestModel:
    """See `ServedModel`.

    Args:
      address: "http://host:port".
      name: under which the server serves it.
      timeout: seconds to wait for an answer.

    Raises:
      UserError: no server there, no such model, or not one of bin/export.
    """

    def __init__(self, address: str, name: str, timeout: float = 60.0) -> None:
        self.place = f"--server={address}"
        self.name = name
        self.class_names = ()
        self.timeout = timeout
        self._url = f"{address.rstrip('/')}/v1/models/{name}"
        self.image_shape, self.version = self._asked()

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """See `ServedModel`."""
        plain = values.tolist()
        if values.dtype == object:
            plain = [{"b64": base64.b64encode(encoded).decode()} for encoded in values]
        body = {"signature_name": signature, "inputs": plain}
        outputs = self._call(f"{self._url}:predict", json.dumps(body).encode())["outputs"]
        # A signature with one output comes back without its name.
        outputs = outputs if isinstance(outputs, dict) else {"purified": outputs}
        return {
            name: np.array(value, _TYPES.get(name, np.float32)) for name, value in outputs.items()
        }

    def _asked(self) -> tuple[tuple[int, int, int], str]:
        """Image shape and version, from what the server says of the model."""
        answer = self._call(f"{self._url}/metadata")
        try:
            default = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
            shapes = [
                {
                    name: tuple(int(size["size"]) for size in about["tensor_shape"].get("dim", ()))
                    for name, about in default[side].items()
                }
                for side in ("outputs", "inputs")
            ]
            version = answer["model_spec"]["version"]
        except (KeyError, TypeError) as error:
            raise UserError(f"{self.place}: is no TF Serving: {str(answer)[:100]}") from error
        return image_shape_of(*shapes, self.place), f"{self.name}/{version}"

    def _call(self, url: str, body: bytes | None = None) -> Any:
        def once() -> Any:
            try:
                with urllib.request.urlopen(url, body, timeout=self.timeout) as response:
                    return json.loads(response.read())
            except urllib.error.HTTPError as error:
                said = _said(error)
                if error.code == 400:
                    raise Refused(refusal(said)) from error
                if error.code == 503:
                    raise Unreachable(said) from error
                raise UserError(
                    f"{self.place}: model {self.name!r}: HTTP {error.code}: {said}"
                ) from error
            except json.JSONDecodeError as error:
                raise UserError(f"{self.place}: is no TF Serving: answers no JSON.") from error
            except ValueError as error:
                raise UserError(f"{self.place}: no address: {error}.") from error
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(str(error)) from error

        return patiently(once, self.place, self.name)


def _said(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
