"""A model behind TF Serving's gRPC port."""

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

_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class GrpcModel:
    """See `ServedModel`.

    Args:
      address: "host:port".
      name: under which the server serves it.
      timeout: seconds to wait for an answer.

    Raises:
      UserError: no server there, no such model, or not one of bin/export; or the package
        `tensorflow-serving-api` is not installed.
    """

    def __init__(self, address: str, name: str, timeout: float = 60.0) -> None:
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError:
            raise UserError(
                f"--server={address}: gRPC needs tensorflow-serving-api: pip install tfdefense[serving]; or use the REST"
                " port: --server=http://HOST:8501."
            ) from None
        self.place = f"--server={address}"
        self.name = name
        self.class_names = ()
        self.timeout = timeout
        channel = grpc.insecure_channel(address, options=_UNLIMITED)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.image_shape, self.version = self._asked()

    def predict(self, signature: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """See `ServedModel`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.signature_name = signature
        taken = "image_bytes" if values.dtype == object else "images"
        request.inputs[taken].CopyFrom(tf.make_tensor_proto(values))
        response = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def _asked(self) -> tuple[tuple[int, int, int], str]:
        """Image shape and version, from what the server says of the model."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.name
        response = self._call(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        default = signatures.signature_def["serving_default"]

        def shapes(tensors: dict) -> dict[str, tuple[int, ...]]:
            return {
                name: tuple(dimension.size for dimension in about.tensor_shape.dim)
                for name, about in tensors.items()
            }

        shape = image_shape_of(shapes(default.outputs), shapes(default.inputs), self.place)
        return shape, f"{self.name}/{response.model_spec.version.value}"

    def _call(self, method: Any, request: Any) -> Any:
        import grpc

        def once() -> Any:
            try:
                return method(request, timeout=self.timeout)
            except grpc.RpcError as error:
                code, said = error.code(), error.details()
                if code == grpc.StatusCode.INVALID_ARGUMENT:
                    raise Refused(refusal(said)) from error
                if code == grpc.StatusCode.UNAVAILABLE:
                    raise Unreachable(said) from error
                raise UserError(
                    f"{self.place}: model {self.name!r}: {code.name}: {said}"
                ) from error

        return patiently(once, self.place, self.name)
