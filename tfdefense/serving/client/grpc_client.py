"""Client of a model behind the gRPC port of TF Serving."""

import math
from typing import Any

import numpy as np

from tfdefense.data.core.class_labels import MAX_CLASSES
from tfdefense.errors import UserError, short_reason
from tfdefense.serving.client.model_client import (
    RequestRejected,
    ServerUnreachable,
    call_with_retries,
    image_shape_from_signature,
)
from tfdefense.serving.client.output_checks import require_sound_outputs
from tfdefense.utils.graph_checks import rejection_reason

_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", 2**30)]


class GrpcClient:
    """Client of a model behind a gRPC port; see `ModelClient`.

    Args:
      address: "host:port".
      name: name under which the server serves the model.
      timeout: seconds to wait for an answer.

    Raises:
      UserError: no server answers, the server has no such model, `bin/export` did not write the
        model, or the package `tensorflow-serving-api` is not installed.
    """

    def __init__(self, address: str, name: str, timeout: float = 60.0) -> None:
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError:
            raise UserError(
                f"--server={address}: gRPC needs tensorflow-serving-api. Install it with: pip install tfdefense[serving];"
                " or use the REST port: --server=http://HOST:8501"
            ) from None
        self.location = f"--server={address}"
        self.name = name
        self.class_names: tuple[str, ...] = ()
        self.timeout = timeout
        channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.image_shape, self.version = self._read_metadata()

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """See `ModelClient`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.signature_name = signature
        input_name = "image_bytes" if values.dtype == object else "images"
        request.inputs[input_name].CopyFrom(tf.make_tensor_proto(values))
        response = self._call(self._stub.Predict, request)
        largest = len(values) * max(math.prod(self.image_shape), MAX_CLASSES)
        try:
            for value in response.outputs.values():
                sizes = [dimension.size for dimension in value.tensor_shape.dim]
                if min(sizes, default=0) < 0 or math.prod(sizes) > largest:
                    raise ValueError(f"an output of shape {sizes}")
            outputs = {name: tf.make_ndarray(value) for name, value in response.outputs.items()}
        except (TypeError, ValueError, KeyError) as error:
            raise self._not_a_server(error) from error
        require_sound_outputs(outputs, len(values), self.image_shape, self.location)
        return outputs

    def _read_metadata(self) -> tuple[tuple[int, int, int], str]:
        """Ask the server for the model's image shape and version."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.name
        response = self._call(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        try:
            response.metadata["signature_def"].Unpack(signatures)
        except Exception as error:  # Protobuf's DecodeError.
            raise self._not_a_server(error) from error
        default = signatures.signature_def["serving_default"]
        shape = image_shape_from_signature(
            _shapes(default.inputs), _shapes(default.outputs), self.location
        )
        return shape, f"{self.name}/{response.model_spec.version.value}"

    def _not_a_server(self, error: Exception) -> UserError:
        return UserError(
            f"{self.location}: not a TF Serving server: its answer cannot be read ({short_reason(error)})."
        )

    def _call(self, method: Any, request: Any) -> Any:
        import grpc

        def call_once() -> Any:
            try:
                return method(request, timeout=self.timeout)
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
                if code == grpc.StatusCode.INVALID_ARGUMENT:
                    raise RequestRejected(rejection_reason(details)) from error
                if code == grpc.StatusCode.UNAVAILABLE:
                    raise ServerUnreachable(details) from error
                raise UserError(
                    f"{self.location}: model {self.name!r}: {code.name}: {details}"
                ) from error

        return call_with_retries(call_once, self.location, self.name)


def _shapes(tensors: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a signature's `TensorInfo` messages, by name."""
    return {
        name: tuple(dimension.size for dimension in tensor.tensor_shape.dim)
        for name, tensor in tensors.items()
    }
