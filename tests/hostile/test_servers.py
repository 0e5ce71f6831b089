"""Servers and models that answer something else than a model of `bin/export`."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.errors import UserError
from tfdefense.serving.client.grpc_client import GrpcClient
from tfdefense.serving.client.model_client import image_shape_from_signature
from tfdefense.serving.client.output_checks import require_sound_outputs
from tfdefense.serving.client.rest_client import RestClient

SHAPE = (2, 2, 1)
OUTPUTS = ("purified", "classes", "probabilities", "perturbation_norm")


def _tensor(*sizes):
    return {"tensor_shape": {"dim": [{"size": str(size)} for size in sizes]}}


def _metadata(shape=SHAPE):
    outputs = {name: _tensor(-1) for name in OUTPUTS} | {"purified": _tensor(-1, *shape)}
    signature = {"inputs": {"images": _tensor(-1, *shape)}, "outputs": outputs}
    signatures = {"signature_def": {"signature_def": {"serving_default": signature}}}
    return {"model_spec": {"version": "1"}, "metadata": signatures}


def _outputs(**changes):
    sound = {
        "purified": np.zeros((1, *SHAPE)).tolist(),
        "classes": [1],
        "probabilities": [[0.25, 0.75]],
        "perturbation_norm": [0.0],
    }
    return {"outputs": sound | changes}


class _Handler(BaseHTTPRequestHandler):
    answer: bytes = b""
    metadata: bytes = b""

    def do_GET(self):
        self._send(self.metadata)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.answer == b"redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
        else:
            self._send(self.answer)

    def _send(self, content):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # The client has heard enough.
            for number in range(100 if content == b"slow" else 0):
                self.wfile.write(b"%d" % (number % 10))
                time.sleep(0.1)
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def ask(monkeypatch):
    """Return a function that returns the outputs of a client whose server gives an answer."""
    monkeypatch.setattr("tfdefense.serving.client.model_client._ATTEMPTS", 1)
    server = ThreadingHTTPServer(("localhost", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(answer, metadata=None, timeout=20.0):
        _Handler.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        metadata = _metadata() if metadata is None else metadata
        _Handler.metadata = (
            metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
        )
        client = RestClient(f"http://localhost:{server.server_port}", "m", timeout)
        return client.predict("serving_default", np.zeros((1, *SHAPE), np.float32))

    yield ask
    server.shutdown()
    server.server_close()


def test_a_sound_answer_is_returned(ask):
    assert ask(_outputs())["classes"].tolist() == [1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "not a TF Serving server"),
        ({"outputs": 1}, "its output purified is"),
        (_outputs(purified="text"), "not a TF Serving server"),
        (_outputs(purified=[[1, 2], [3]]), "not a TF Serving server"),
        (_outputs(purified=[[1, 2], [3, 4]]), r"purified is float32 of shape \(2, 2\)"),
        (_outputs(purified=np.full((1, *SHAPE), np.nan).tolist()), "NaN or infinity"),
        (_outputs(classes=[2]), "names no class"),
        (_outputs(classes=[10**30]), "not a TF Serving server"),
        (_outputs(probabilities=[]), "probabilities is float32 of shape"),
        (b'{"outputs": "' + b"x" * 30_000_000, "is larger than"),
        (b"redirect", "HTTP 302"),
        (b"slow", "no server answers"),
    ],
)
def test_any_other_answer_is_one_line(ask, answer, message):
    with pytest.raises(UserError, match=message):
        ask(answer, timeout=0.5 if answer == b"slow" else 20.0)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([], "not a TF Serving server"),
        ({"metadata": 1}, "not a TF Serving server"),
        (_metadata(("x", 2, 1)), "not a TF Serving server"),
        (_metadata((2**40, 2, 1)), "takes images of"),
        (_metadata((-5, 2, 1)), "takes images of"),
        (_metadata((2, 2, 7)), "takes images of"),
        (b"x" * 2**25, "is larger than"),
    ],
)
def test_other_metadata_is_one_line(ask, metadata, message):
    with pytest.raises(UserError, match=message):
        ask(_outputs(), metadata)


def test_a_tensor_that_declares_another_size_is_refused():
    pytest.importorskip("tensorflow_serving")
    from tensorflow_serving.apis import predict_pb2

    client = object.__new__(GrpcClient)
    client.location, client.name, client.image_shape = "--server=x", "m", SHAPE
    response = predict_pb2.PredictResponse()
    client._stub = type("Stub", (), {"Predict": None})
    client._call = lambda *_: response
    images = np.zeros((1, *SHAPE), np.float32)
    huge = tf.make_tensor_proto(np.float32(0))
    for size in (2**40, -1):
        del huge.tensor_shape.dim[:]
        huge.tensor_shape.dim.add(size=size)
        response.outputs["purified"].CopyFrom(huge)
        with pytest.raises(UserError, match=r"its answer cannot be read \(an output of shape"):
            client.predict("serving_default", images)
    response.outputs["purified"].CopyFrom(tf.make_tensor_proto([b"text"]))
    with pytest.raises(UserError, match="purified is object of shape"):
        client.predict("serving_default", images)


@pytest.mark.parametrize("shape", [(1, 2**40, 8, 1), (1, 8, 8, 4), (1, 0, 8, 1)])
def test_images_of_impossible_sizes_are_refused(shape):
    outputs = dict.fromkeys(OUTPUTS, (None,)) | {"purified": shape}
    with pytest.raises(UserError, match="takes images of"):
        image_shape_from_signature({"images": shape}, outputs, "--model=x")


def test_outputs_that_are_not_read_are_not_checked():
    require_sound_outputs({"radii": np.array(["text"])}, 3, SHAPE, "--model=x")
