"""Fake of TF Serving, whose binary the tests do not have.

It has TF Serving's gRPC stubs and REST paths on real sockets, and runs the real SavedModel in a
TensorFlow session, as TF Serving does.
"""

import base64
import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

NAME = "apeganpp"


class SessionModel:
    """A SavedModel in a TensorFlow 1 session, with the checks that TF Serving makes itself."""

    def __init__(self, path: Path) -> None:
        self.version = int(path.name)
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures = dict(loaded.signature_def)

    def predict(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if signature not in self.signatures:
            raise ValueError(f'Serving signature name: "{signature}" not found in signature def')
        definition = self.signatures[signature]
        if set(inputs) != set(definition.inputs):
            raise ValueError(
                f"input size does not match signature: {len(inputs)}!={len(definition.inputs)}"
            )
        feeds = {}
        for name, values in inputs.items():
            expected = tf.as_dtype(definition.inputs[name].dtype)
            found = tf.as_dtype(values.dtype)
            if expected != found:
                raise ValueError(
                    f"Expects arg[0] to be {expected.name} but {found.name} is provided"
                )
            feeds[definition.inputs[name].name] = values
        fetches = {name: output.name for name, output in definition.outputs.items()}
        try:
            return self.session.run(fetches, feeds)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(error.message) from error


@contextlib.contextmanager
def serve_model(path: Path, workers: int = 8) -> Iterator[tuple[str, str]]:
    """Serve the SavedModel at `path` as NAME; yield the gRPC and the REST address."""
    model = SessionModel(path)
    server = grpc.server(
        ThreadPoolExecutor(workers), options=[("grpc.max_receive_message_length", -1)]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_GrpcService(model), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    rest = ThreadingHTTPServer(("localhost", 0), type("Handler", (_RestHandler,), {"model": model}))
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    try:
        yield f"localhost:{port}", f"http://localhost:{rest.server_port}"
    finally:
        rest.shutdown()
        rest.server_close()
        server.stop(None).wait()
        model.session.close()


class _GrpcService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: SessionModel) -> None:
        self.model = model

    def Predict(self, request, context):
        self._require_served(request, context)
        try:
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = self.model.predict(request.model_spec.signature_name, inputs)
        except (ValueError, TypeError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        self._require_served(request, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = NAME
        response.model_spec.version.value = self.model.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in self.model.signatures.items():
            signatures.signature_def[name].CopyFrom(definition)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def _require_served(self, request, context):
        if request.model_spec.name != NAME:
            message = f"Servable not found for request: Latest({request.model_spec.name})"
            context.abort(grpc.StatusCode.NOT_FOUND, message)


class _RestHandler(BaseHTTPRequestHandler):
    model: SessionModel
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path != f"/v1/models/{NAME}/metadata":
            self._answer(404, {"error": f"Servable not found for request: {self.path}"})
            return
        signatures = {
            signature: {
                side: {
                    name: {
                        "tensor_shape": {
                            "dim": [{"size": str(d.size)} for d in tensor.tensor_shape.dim]
                        }
                    }
                    for name, tensor in getattr(definition, side).items()
                }
                for side in ("inputs", "outputs")
            }
            for signature, definition in self.model.signatures.items()
        }
        spec = {"name": NAME, "version": str(self.model.version)}
        metadata = {"signature_def": {"signature_def": signatures}}
        self._answer(200, {"model_spec": spec, "metadata": metadata})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != f"/v1/models/{NAME}:predict":
            self._answer(404, {"error": f"Servable not found for request: {self.path}"})
            return
        try:
            request = json.loads(body)
            signature = request.get("signature_name", "serving_default")
            (name,) = self.model.signatures[signature].inputs
            outputs = self.model.predict(signature, {name: self._parse_values(request["inputs"])})
        except (ValueError, TypeError, KeyError) as error:
            self._answer(400, {"error": str(error)})
            return
        lists = {name: value.tolist() for name, value in outputs.items()}
        self._answer(200, {"outputs": lists if len(lists) > 1 else next(iter(lists.values()))})

    def _parse_values(self, values):
        if values and isinstance(values[0], dict):
            return np.array([base64.b64decode(value["b64"]) for value in values], object)
        return np.array(values, np.float32)

    def _answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    # Serve the model at the path given, under the name given; print both addresses, and end when the
    # input ends.
    NAME = sys.argv[2] if len(sys.argv) > 2 else NAME
    with serve_model(Path(sys.argv[1])) as found:
        print(*found, flush=True)
        sys.stdin.read()
