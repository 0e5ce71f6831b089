"""gRPC server of a model of 2x2 grey images and two classes, which answers wrongly on purpose."""

import contextlib
import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from tests.serving.client.misbehaving_rest import COUNT, SHAPE

_SERVICE = "tensorflow.serving.PredictionService"


@dataclasses.dataclass(frozen=True)
class GrpcAnswer:
    """Answer of the server.

    Attributes:
      content: the bytes of the message.
      status, details: an error instead, if the status is not None.
      compression: of the message.
      seconds: to wait before the answer.
    """

    content: bytes = b""
    status: grpc.StatusCode | None = None
    details: str = ""
    compression: grpc.Compression = grpc.Compression.NoCompression
    seconds: float = 0.0

    def give(self, context: grpc.ServicerContext) -> bytes:
        time.sleep(self.seconds)
        context.set_compression(self.compression)
        if self.status is not None:
            context.abort(self.status, self.details)
        return self.content


@contextlib.contextmanager
def serve_grpc(answer: GrpcAnswer, to_metadata: GrpcAnswer | None = None) -> Iterator[str]:
    """Give one answer to `Predict`, and one to `GetModelMetadata`, or sound ones; yield the address."""
    methods = {"Predict": answer, "GetModelMetadata": to_metadata or GrpcAnswer(metadata())}
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(lambda _, context, each=each: each.give(context))
        for name, each in methods.items()
    }
    limits = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
    server = grpc.server(ThreadPoolExecutor(2), options=[(name, -1) for name in limits])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


@contextlib.contextmanager
def serve_bytes(send: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a TCP server that does not speak HTTP/2; yield its address."""
    listener = socket.create_server(("localhost", 0))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            send(connection)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"localhost:{listener.getsockname()[1]}"
    finally:
        listener.close()


def metadata(shape: tuple = SHAPE, images: tuple | None = None, **outputs: tuple) -> bytes:
    """Return the metadata of a model that purifies to a shape; `images` and `outputs` replace sizes."""
    sizes = {"purified": (-1, *shape), "probabilities": (-1, 2), "logits": (-1, 2)}
    sizes |= {"classes": (-1,), "perturbation_norm": (-1,)}
    signatures = get_model_metadata_pb2.SignatureDefMap()
    default = signatures.signature_def["serving_default"]
    _declare(default.inputs["images"], images or (-1, *shape))
    for name, each in (sizes | outputs).items():
        _declare(default.outputs[name], each)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.version.value = 1
    response.metadata["signature_def"].Pack(signatures)
    return response.SerializeToString()


def damaged_metadata() -> bytes:
    """Return metadata whose packed message is damaged."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].value = b"\xff\xff\xff"
    return response.SerializeToString()


def outputs(**changes: Any) -> bytes:
    """Return sound outputs for `COUNT` images, with changes: arrays, or messages; None leaves one out."""
    sound = {
        "purified": np.full((COUNT, *SHAPE), 0.5, np.float32),
        "classes": np.ones(COUNT, np.int64),
        "logits": np.zeros((COUNT, 2), np.float32),
        "probabilities": np.full((COUNT, 2), 0.5, np.float32),
        "perturbation_norm": np.ones(COUNT, np.float32),
    }
    response = predict_pb2.PredictResponse()
    for name, value in (sound | changes).items():
        if value is not None:
            is_message = isinstance(value, tensor_pb2.TensorProto)
            response.outputs[name].CopyFrom(value if is_message else tf.make_tensor_proto(value))
    return response.SerializeToString()


def with_pixel(value: float) -> bytes:
    """Return outputs in which one value of `purified` is another one."""
    purified = np.full((COUNT, *SHAPE), 0.5, np.float32)
    purified[0, 0, 0, 0] = value
    return outputs(purified=purified)


def many_outputs() -> bytes:
    """Return 10,000 outputs, each of one number that declares a full shape."""
    tensor = declared(COUNT, *SHAPE)
    return outputs(**{f"o{number}": tensor for number in range(10_000)})


def declared(*sizes: int, **fields: Any) -> tensor_pb2.TensorProto:
    """Return a message that declares a shape and has one number, or other fields."""
    tensor = tensor_pb2.TensorProto(**({"dtype": 1, "float_val": [0.5]} | fields))
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def send_slowly(connection: socket.socket) -> None:
    """Send one byte of HTTP/2 at a time."""
    for number in range(100):
        connection.sendall(b"\0" if number % 2 else b"\4")
        time.sleep(0.2)


def send_goaway(connection: socket.socket) -> None:
    """Greet as HTTP/2 does, and then end the connection with an error."""
    reason = struct.pack(">II", 0, 2) + b"bad"  # Last stream, INTERNAL_ERROR.
    connection.recv(2**16)
    connection.sendall(_http2_frame(4) + _http2_frame(7, reason))  # SETTINGS, GOAWAY.
    time.sleep(0.2)


def send_http(connection: socket.socket) -> None:
    """Answer as the REST port does."""
    connection.recv(2**16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def _http2_frame(kind: int, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, 0, 0) + content


def _declare(tensor: Any, sizes: tuple) -> None:
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
