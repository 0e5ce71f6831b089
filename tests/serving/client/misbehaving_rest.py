"""REST server of a model of 2x2 grey images and two classes, which answers wrongly on purpose."""

import contextlib
import dataclasses
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHAPE = (2, 2, 1)
COUNT = 2  # Images in a request of the tests.
JSON_TYPE = {"Content-Type": "application/json"}


@dataclasses.dataclass(frozen=True)
class RestAnswer:
    """Answer of the server.

    Attributes:
      body: the bytes, or a value that becomes JSON.
      status: HTTP status.
      headers: of the answer; Content-Length is added if `send` is None.
      send: writes the answer itself with the handler of the request.
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=lambda: JSON_TYPE)
    send: Callable[[BaseHTTPRequestHandler], None] | None = None

    def write(self, handler: BaseHTTPRequestHandler) -> None:
        if self.send is not None:
            self.send(handler)
            return
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        _start(handler, {"Content-Length": str(len(body)), **self.headers}, self.status)
        handler.wfile.write(body)


@contextlib.contextmanager
def serve_rest(answer: RestAnswer, to_metadata: RestAnswer | None = None) -> Iterator[str]:
    """Give one answer to `:predict`, and one for metadata, or sound ones; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._write(to_metadata or RestAnswer(metadata()))

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self._write(answer)

        def _write(self, chosen):
            with contextlib.suppress(OSError):  # The client has closed the connection.
                chosen.write(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def metadata(shape: tuple = SHAPE, **changes: Any) -> dict:
    """Return the metadata of a sound model whose images have a shape; `changes` replaces keys."""
    sizes = {"purified": (-1, *shape), "probabilities": (-1, 2), "logits": (-1, 2)}
    sizes |= {"classes": (-1,), "perturbation_norm": (-1,)}
    signature = {
        "inputs": {"images": _tensor(-1, *shape)},
        "outputs": {name: _tensor(*each) for name, each in sizes.items()},
    }
    signatures = {"signature_def": {"signature_def": {"serving_default": signature}}}
    return {"model_spec": {"version": "1"}, "metadata": signatures} | changes


def flat_metadata() -> dict:
    """Return the metadata of a model that takes vectors."""
    changed = metadata()
    signature = changed["metadata"]["signature_def"]["signature_def"]["serving_default"]
    signature["inputs"]["images"] = _tensor(-1, 4)
    return changed


def outputs(**changes: Any) -> dict:
    """Return sound outputs for `COUNT` images, with changes; None leaves an output out."""
    image = [[[0.25], [0.5]], [[0.0], [1.0]]]
    sound = {
        "purified": [image] * COUNT,
        "classes": [1] * COUNT,
        "logits": [[0.0, 1.0]] * COUNT,
        "probabilities": [[0.25, 0.75]] * COUNT,
        "perturbation_norm": [0.5] * COUNT,
    }
    return {"outputs": {k: v for k, v in (sound | changes).items() if v is not None}}


def with_pixel(value: Any) -> dict:
    """Return outputs in which one value of `purified` is another one."""
    image = [[[value], [0.5]], [[0.0], [1.0]]]
    return outputs(purified=[image] * COUNT)


def text_of(value: Any, placeholder: str, text: str) -> bytes:
    """Return JSON in which a placeholder is a text that `json.dumps` would not write."""
    return json.dumps(value).replace(f'"{placeholder}"', text).encode()


def gzip_bomb() -> bytes:
    """Return 100 KB that unfold to 100 MB."""
    return gzip.compress(b" " * 100_000_000, 1)


def send_slowly(handler: BaseHTTPRequestHandler) -> None:
    """Send one byte at a time, without end."""
    _start(handler, JSON_TYPE)
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.2)


def send_slow_headers(handler: BaseHTTPRequestHandler) -> None:
    """Send a header one byte at a time."""
    while True:
        handler.wfile.write(b"H")
        handler.wfile.flush()
        time.sleep(0.2)


def send_nothing(handler: BaseHTTPRequestHandler) -> None:
    """Hold the connection open for a while."""
    time.sleep(3)


def send_without_end(handler: BaseHTTPRequestHandler) -> None:
    """Send JSON that never ends."""
    _start(handler, JSON_TYPE)
    handler.wfile.write(b'{"outputs": "')
    while True:
        handler.wfile.write(b"x" * 2**20)


def send_continue_without_end(handler: BaseHTTPRequestHandler) -> None:
    """Send "100 Continue" again and again."""
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def send_many_headers(handler: BaseHTTPRequestHandler) -> None:
    """Send headers that never end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-Y: z\r\n" * 1000)


def send_cut_chunk(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection in a chunk."""
    handler.protocol_version = "HTTP/1.1"
    _start(handler, {**JSON_TYPE, "Transfer-Encoding": "chunked", "Connection": "close"})
    handler.wfile.write(b'ff\r\n{"outputs": ')
    handler.close_connection = True


def send_raw(content: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return a function that writes bytes in place of an HTTP answer."""
    return lambda handler: handler.wfile.write(content)


def close(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def _start(handler: BaseHTTPRequestHandler, headers: dict[str, str], status: int = 200) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()


def _tensor(*sizes: Any) -> dict:
    return {"tensor_shape": {"dim": [{"size": str(size)} for size in sizes]}}
