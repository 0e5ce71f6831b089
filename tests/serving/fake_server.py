"""Fake of TF Serving, whose binary the tests do not have.

It has TF Serving's gRPC stubs and REST paths on real sockets, and runs the real SavedModel in a
TensorFlow session, as TF Serving does.

    .venv/bin/python -m tests.serving.fake_server DIR [NAME] [--batching_parameters_file=FILE]

serves the version DIR, prints both addresses, and ends when its input ends. With batching it then
prints the number of batches, and of requests that were not alone in theirs.
"""

import argparse
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

from tests.serving.batching import BatchingModel, BatchingParameters
from tests.serving.session_model import SessionModel

NAME = "apeganpp"


def serve_model(path: Path, workers: int = 8) -> contextlib.AbstractContextManager[tuple[str, str]]:
    """Serve the SavedModel at `path` as NAME; yield the gRPC and the REST address."""
    return serve_loaded(SessionModel(path), workers)


@contextlib.contextmanager
def serve_loaded(
    model: SessionModel | BatchingModel, workers: int = 8
) -> Iterator[tuple[str, str]]:
    """Serve the model as NAME, then close it; answer `workers` gRPC requests at a time."""
    server = grpc.server(
        ThreadPoolExecutor(workers), options=[("grpc.max_receive_message_length", -1)]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_GrpcService(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    rest = ThreadingHTTPServer(("localhost", 0), type("Handler", (_RestHandler,), {"model": model}))
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{port}", f"http://localhost:{rest.server_port}"
    finally:
        rest.shutdown()
        rest.server_close()
        server.stop(None).wait()
        model.close()


class _GrpcService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: SessionModel | BatchingModel) -> None:
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
        version = request.model_spec.version.value
        if request.model_spec.name != NAME or version not in (0, self.model.version):
            message = f"Servable not found for request: {request.model_spec.name} {version}"
            context.abort(grpc.StatusCode.NOT_FOUND, message)


class _RestHandler(BaseHTTPRequestHandler):
    model: SessionModel | BatchingModel
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
        place = f"/v1/models/{NAME}"
        if self.path not in (f"{place}:predict", f"{place}/versions/{self.model.version}:predict"):
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
        body = json.dumps(content, indent=4).encode()  # As TF Serving: a line for each number.
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("name", nargs="?", default=NAME)
    parser.add_argument("--batching_parameters_file", type=Path)
    given = parser.parse_args()
    NAME, file = given.name, given.batching_parameters_file
    model = SessionModel(given.path)
    if file:
        text = file.read_text(encoding="utf-8")
        model = BatchingModel(model, BatchingParameters.from_text(text))
    with serve_loaded(model) as found:
        print(*found, flush=True)
        sys.stdin.read()
    if file:
        print(model.batches, model.joined)
