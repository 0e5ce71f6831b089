"""What answers in TF Serving's place, whose binary cannot be had here: its gRPC stubs and its REST paths over real
sockets, in front of the real SavedModel in a session, as TF Serving loads it."""

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
    """A SavedModel in a TensorFlow 1 session; checks what TF Serving checks before it asks the graph."""

    def __init__(self, path: Path) -> None:
        self.version = int(path.name)
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures = dict(loaded.signature_def)

    def predict(self, signature: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if signature not in self.signatures:
            raise ValueError(f'Serving signature name: "{signature}" not found in signature def')
        about = self.signatures[signature]
        if set(given) != set(about.inputs):
            raise ValueError(
                f"input size does not match signature: {len(given)}!={len(about.inputs)}"
            )
        feeds = {}
        for name, values in given.items():
            wanted = tf.as_dtype(about.inputs[name].dtype)
            got = tf.as_dtype(values.dtype)
            if wanted != got:
                raise ValueError(f"Expects arg[0] to be {wanted.name} but {got.name} is provided")
            feeds[about.inputs[name].name] = values
        fetches = {name: each.name for name, each in about.outputs.items()}
        try:
            return self.session.run(fetches, feeds)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(error.message) from error


@contextlib.contextmanager
def serving(path: Path, workers: int = 8) -> Iterator[tuple[str, str]]:
    """Serves the SavedModel at `path` as NAME; gives the gRPC and the REST address."""
    model = SessionModel(path)
    server = grpc.server(
        ThreadPoolExecutor(workers), options=[("grpc.max_receive_message_length", -1)]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Grpc(model), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    rest = ThreadingHTTPServer(("localhost", 0), type("Handler", (_Rest,), {"model": model}))
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    try:
        yield f"localhost:{port}", f"http://localhost:{rest.server_port}"
    finally:
        rest.shutdown()
        rest.server_close()
        server.stop(None).wait()
        model.session.close()


class _Grpc(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: SessionModel) -> None:
        self.model = model

    def Predict(self, request, context):
        self._require_served(request, context)
        try:
            given = {name: tf.make_ndarray(each) for name, each in request.inputs.items()}
            answers = self.model.predict(request.model_spec.signature_name, given)
        except (ValueError, TypeError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        for name, value in answers.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        self._require_served(request, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = NAME
        response.model_spec.version.value = self.model.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, about in self.model.signatures.items():
            signatures.signature_def[name].CopyFrom(about)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def _require_served(self, request, context):
        if request.model_spec.name != NAME:
            said = f"Servable not found for request: Latest({request.model_spec.name})"
            context.abort(grpc.StatusCode.NOT_FOUND, said)


class _Rest(BaseHTTPRequestHandler):
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
                            "dim": [{"size": str(d.size)} for d in each.tensor_shape.dim]
                        }
                    }
                    for name, each in getattr(about, side).items()
                }
                for side in ("inputs", "outputs")
            }
            for signature, about in self.model.signatures.items()
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
            asked = json.loads(body)
            signature = asked.get("signature_name", "serving_default")
            (taken,) = self.model.signatures[signature].inputs
            answers = self.model.predict(signature, {taken: self._values(asked["inputs"])})
        except (ValueError, TypeError, KeyError) as error:
            self._answer(400, {"error": str(error)})
            return
        plain = {name: value.tolist() for name, value in answers.items()}
        self._answer(200, {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))})

    def _values(self, given):
        if given and isinstance(given[0], dict):
            return np.array([base64.b64decode(each["b64"]) for each in given], object)
        return np.array(given, np.float32)

    def _answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    # serve PATH in a process of its own: prints both addresses, and ends when its input does.
    with serving(Path(sys.argv[1])) as found:
        print(*found, flush=True)
        sys.stdin.read()
