"""Client of a model behind the gRPC port of TF Serving."""

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tfdefense.errors import UserError, cut_text, short_reason
from tfdefense.serving.client.model_client import (
    RequestRejected,
    ServerUnreachable,
    call_with_retries,
    deadline_error,
    not_a_server_error,
    rules_from_signature,
)
from tfdefense.serving.client.output_checks import OutputRules
from tfdefense.serving.client.proxy_notice import print_grpc_proxy
from tfdefense.utils.graph_checks import rejection_reason

_SERVICE = "/tensorflow.serving.PredictionService"
_METADATA_BYTES = 16 * 2**20
_SMALLEST_LIMIT, _LARGEST_LIMIT = 16 * 2**20, 2**31 - 1
_MESSAGE_CHARACTERS = 2000

# The library `grpc` logs what a server that misbehaves sends. It reads this on its first import.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


class GrpcClient:
    """Client of a model behind a gRPC port; see `ModelClient`.

    A proxy that `grpc_proxy`, `https_proxy` or `http_proxy` names is used, and one line says so.

    Args:
      address: "host:port".
      name: name under which the server serves the model.
      timeout: seconds to wait for a complete answer.

    Raises:
      UserError: no server answers, the server has no such model, `bin/export` did not write the
        model, or the package `tensorflow-serving-api` is not installed.
    """

    def __init__(self, address: str, name: str, timeout: float = 60.0) -> None:
        try:
            import grpc  # noqa: F401
            import tensorflow_serving.apis  # noqa: F401
        except ImportError:
            raise UserError(
                f"--server={address}: gRPC needs tensorflow-serving-api. In a clone, install it with:"
                " .venv/bin/pip install '.[serving]'; or use the REST port: --server=http://HOST:8501"
            ) from None
        self.address = address
        self.location = f"--server={address}"
        self.name = name
        self.class_names: tuple[str, ...] = ()
        self.timeout = timeout
        print_grpc_proxy(address)
        self._channels: dict[int, Any] = {}
        self._rules, self._version_number = self._read_metadata()
        self.version = f"{name}/{self._version_number or 0}"
        self.image_shape = self._rules.image_shape
        self.has_suspicion = self._rules.has_suspicion

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """See `ModelClient`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.name
        # The server may load another version meanwhile.
        if self._version_number is not None:
            request.model_spec.version.value = self._version_number
        request.model_spec.signature_name = signature
        input_name = "image_bytes" if values.dtype == object else "images"
        try:
            request.inputs[input_name].CopyFrom(tf.make_tensor_proto(values))
            content = request.SerializeToString()
        except Exception as error:  # Protobuf raises several types for more than 2 GiB.
            raise UserError(
                f"{self.location}: {len(values):,} images are too large for one request"
                f" ({short_reason(error)}). Give a smaller --batch_size."
            ) from error
        limit = self._rules.largest_answer(len(values), is_json=False)
        answer = self._call("Predict", content, limit)
        response = self._parse(predict_pb2.PredictResponse, answer)
        outputs = self._read_outputs(response.outputs, len(values))
        return self._rules.sound_outputs(outputs, signature, len(values))

    def _read_outputs(self, tensors: Any, count: int) -> dict[str, np.ndarray]:
        """Return the arrays of `TensorProto` messages, by name."""
        import tensorflow as tf

        remaining = self._rules.largest_size(count)
        outputs = {}
        try:
            for name, tensor in tensors.items():
                # A message can declare many more numbers than it has; NumPy allocates them all.
                sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
                remaining -= math.prod(sizes)
                if min(sizes, default=0) < 0 or remaining < 0:
                    raise ValueError(f"an output of shape {cut_text(str(sizes))}")
                outputs[name] = tf.make_ndarray(tensor)
        except (TypeError, ValueError, KeyError) as error:
            raise self._not_a_server(error) from error
        return outputs

    def _read_metadata(self) -> tuple[OutputRules, int | None]:
        """Ask the server for the model's image shape, number of classes and version."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.name
        answer = self._call("GetModelMetadata", request.SerializeToString(), _METADATA_BYTES)
        response = self._parse(get_model_metadata_pb2.GetModelMetadataResponse, answer)
        packed = response.metadata["signature_def"].value
        signatures = self._parse(get_model_metadata_pb2.SignatureDefMap, packed)
        default = signatures.signature_def["serving_default"]
        inputs, outputs = _shapes(default.inputs), _shapes(default.outputs)
        rules = rules_from_signature(inputs, outputs, self.location)
        spec = response.model_spec
        return rules, spec.version.value if spec.HasField("version") else None

    def _parse(self, kind: Any, content: bytes) -> Any:
        """Return a message of a class of protocol buffers."""
        try:
            return kind.FromString(content)
        except Exception as error:  # Protobuf's DecodeError, which has no public type.
            raise self._not_a_server(error) from error

    def _not_a_server(self, error: Exception) -> UserError:
        reason = f"its answer cannot be read ({short_reason(error)})"
        return not_a_server_error(self.location, reason)

    def _call(self, method: str, content: bytes, limit: int) -> bytes:
        """Return the bytes that a method answers, of at most about `limit` bytes."""
        call = self._open_method(method, limit)
        return call_with_retries(lambda: self._call_once(call, content), self.location, self.name)

    def _call_once(self, call: Callable[..., bytes], content: bytes) -> bytes:
        import grpc

        try:
            return call(content, timeout=self.timeout)
        except grpc.RpcError as error:
            code, details = error.code(), str(error.details())[:_MESSAGE_CHARACTERS]
            if code == grpc.StatusCode.INVALID_ARGUMENT:
                raise RequestRejected(rejection_reason(details)) from error
            if code == grpc.StatusCode.UNAVAILABLE:
                raise ServerUnreachable(details) from error
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise deadline_error(self.location, self.timeout) from error
            if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
                details += ". Give a smaller --batch_size"
            raise UserError(
                f"{self.location}: model {cut_text(self.name)!r}: {code.name}: {details}"
            ) from error

    def _open_method(self, method: str, limit: int) -> Callable[..., bytes]:
        """Return a method of the server, from bytes to bytes.

        The library `grpc` would print a traceback for a message that it cannot parse, and it fixes
        the size limit of a channel when the channel is opened.
        """
        import grpc

        rounded = min(max(_SMALLEST_LIMIT, 1 << (limit - 1).bit_length()), _LARGEST_LIMIT)
        if rounded not in self._channels:
            options = [
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", rounded),
            ]
            self._channels[rounded] = grpc.insecure_channel(self.address, options)
        opened: Callable[..., bytes] = self._channels[rounded].unary_unary(f"{_SERVICE}/{method}")
        return opened


def _shapes(tensors: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a signature's `TensorInfo` messages, by name."""
    return {
        name: tuple(dimension.size for dimension in tensor.tensor_shape.dim)
        for name, tensor in tensors.items()
    }
