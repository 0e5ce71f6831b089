"""Client of a model behind the REST port of TF Serving."""

import base64
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfdefense.errors import UserError, cut_text
from tfdefense.serving.client.http_exchange import HttpExchange, HttpReply
from tfdefense.serving.client.json_outputs import parse_answer, parse_outputs
from tfdefense.serving.client.model_client import (
    RequestRejected,
    ServerUnreachable,
    call_with_retries,
    not_a_server_error,
    rules_from_signature,
)
from tfdefense.serving.client.output_checks import OutputRules
from tfdefense.serving.client.proxy_notice import print_rest_proxy
from tfdefense.utils.graph_checks import rejection_reason

_METADATA_BYTES = 16 * 2**20
_MESSAGE_CHARACTERS = 2000
_TEXT_CHARACTERS = 200
_MAX_VERSION = 2**63 - 1


class RestClient:
    """Client of a model behind a REST port; see `ModelClient`.

    A proxy that `http_proxy` or `https_proxy` names is used, and one line says so.

    Args:
      address: "http://host:port".
      name: name under which the server serves the model.
      timeout: seconds to wait for a complete answer.

    Raises:
      UserError: no server answers, the server has no such model, or `bin/export` did not write the
        model.
    """

    def __init__(self, address: str, name: str, timeout: float = 60.0) -> None:
        self.location = f"--server={address}"
        self.name = name
        self.class_names: tuple[str, ...] = ()
        print_rest_proxy(address)
        self._exchange = HttpExchange(self.location, timeout)
        self._url = f"{address.rstrip('/')}/v1/models/{urllib.parse.quote(name, safe='')}"
        self._rules, number = self._read_metadata()
        self.version = f"{name}/{number}"
        # The server may load another version meanwhile.
        self._predict_url = f"{self._url}/versions/{number}:predict"
        self.image_shape = self._rules.image_shape
        self.has_suspicion = self._rules.has_suspicion

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """See `ModelClient`."""
        inputs = values.tolist()
        if values.dtype == object:
            inputs = [{"b64": base64.b64encode(encoded).decode()} for encoded in values]
        body = {"signature_name": signature, "inputs": inputs}
        limit = self._rules.largest_answer(len(values), is_json=True)
        answer = self._call(self._predict_url, json.dumps(body).encode(), limit)
        try:
            outputs = parse_outputs(answer)
        except ValueError as error:
            raise not_a_server_error(self.location, str(error)) from error
        return self._rules.sound_outputs(outputs, signature, len(values))

    def _read_metadata(self) -> tuple[OutputRules, int]:
        """Ask the server for the model's image shape, number of classes and version."""
        answer = self._call(f"{self._url}/metadata", None, _METADATA_BYTES)
        try:
            default = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
            inputs, outputs = _shapes(default["inputs"]), _shapes(default["outputs"])
            version = _version_number(answer["model_spec"]["version"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise not_a_server_error(
                self.location, f"it answers {cut_text(str(answer)[:200])}"
            ) from error
        return rules_from_signature(inputs, outputs, self.location), version

    def _call(self, url: str, body: bytes | None, limit: int) -> Any:
        """Return the JSON that the server answers, of at most `limit` bytes."""

        def call_once() -> Any:
            reply = self._exchange.send(url, body, limit)
            if not reply.is_success:
                raise self._describe_failure(reply)
            try:
                return parse_answer(reply.content)
            except ValueError as error:
                raise not_a_server_error(
                    self.location, f"its answer is not JSON: {error}"
                ) from error

        return call_with_retries(call_once, self.location, self.name)

    def _describe_failure(self, reply: HttpReply) -> Exception:
        message = _error_message(reply.content) or "no reason given"
        if reply.status == 400:
            return RequestRejected(rejection_reason(message))
        if reply.status == 503:
            return ServerUnreachable(f"HTTP 503: {message}")
        return UserError(
            f"{self.location}: model {cut_text(self.name)!r}: HTTP {reply.status}: {message}"
        )


def _version_number(version: Any) -> int:
    """Return the version of the metadata; TF Serving writes it as text."""
    if isinstance(version, bool) or not isinstance(version, str | int):
        raise TypeError("version")
    number = int(version)
    if not 0 <= number <= _MAX_VERSION:
        raise ValueError("version")
    return number


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a signature's inputs or outputs as the metadata gives them, by name."""
    return {
        name: tuple(int(dimension["size"]) for dimension in tensor["tensor_shape"].get("dim", ()))
        for name, tensor in tensors.items()
    }


def _error_message(content: bytes) -> str:
    try:
        return str(parse_answer(content)["error"])[:_MESSAGE_CHARACTERS]
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")[:_TEXT_CHARACTERS]
