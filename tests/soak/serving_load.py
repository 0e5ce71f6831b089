"""Soak test: 10,000 mixed requests to an exported model behind the fake server, from eight clients.

    .venv/bin/python -m tests.soak.serving_load [--model=DIR] [--requests=10000]

Valid requests of every size and kind, and the mistakes of clients: wrong sizes, ranges, dtypes and
ranks, NaN, too many images, no images, damaged files, unknown signatures. Every answer must equal
that of the model itself, or be the error that belongs to the mistake. The memory of the server must
not grow. The last line is one JSON object. The exit status is 1 if anything is wrong.
"""

import argparse
import collections
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfdefense
from tests.serving.fake_server import NAME
from tfdefense.serving import export, open_model
from tfdefense.serving.client.grpc_client import GrpcClient
from tfdefense.serving.client.model_client import RequestRejected
from tfdefense.serving.client.rest_client import RestClient
from tfdefense.utils.progress import ProgressBar

_CLIENTS = 8
_ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class RequestKind:
    """Kind of request.

    Attributes:
      make: (random generator, images) -> the values to send.
      signature: the signature to call.
      error: text that the error must contain; None if there must be an answer.
      grpc_only: true if JSON cannot represent the values.
    """

    make: Callable
    signature: str = "serving_default"
    error: str | None = None
    grpc_only: bool = False


def png(image):
    return tf.io.encode_png(np.uint8(np.round(255 * image))).numpy()


def jpeg(image):
    return tf.io.encode_jpeg(np.uint8(np.round(255 * image))).numpy()


def encode(images, encoder=png):
    return np.array([encoder(image) for image in images], object)


def with_one_value(images, value):
    images = images.copy()
    images[-1, 0, 0, 0] = value
    return images


KINDS = {
    "images": RequestKind(lambda rng, x: x),
    "purify": RequestKind(lambda rng, x: x, "purify"),
    "classify": RequestKind(lambda rng, x: x, "classify"),
    "PNGs": RequestKind(lambda rng, x: encode(x[:8]), "serving_bytes"),
    "JPEGs": RequestKind(lambda rng, x: encode(x[:8], jpeg), "serving_bytes"),
    "PNGs of another size": RequestKind(lambda rng, x: encode(np.tile(x[:4], (1, 2, 3, 1))), "serving_bytes"),
    "other size": RequestKind(lambda rng, x: x[:, 1:], error="images: shape ["),
    "other channels": RequestKind(lambda rng, x: np.tile(x, (1, 1, 1, 2)), error="images: shape ["),
    "no batch": RequestKind(lambda rng, x: x[0], error=""),
    "0-255": RequestKind(lambda rng, x: 255 * x, error="Divide 0-255 values by 255"),
    "one value too high": RequestKind(lambda rng, x: with_one_value(x, 1.01), error="[0, 1] needed"),
    "NaN": RequestKind(lambda rng, x: with_one_value(x, np.nan), error="(or NaN) given, [0, 1] needed"),
    "infinity": RequestKind(lambda rng, x: with_one_value(x, np.inf), error="[0, 1] needed"),
    "bytes as numbers": RequestKind(lambda rng, x: np.uint8(255 * x), error="float", grpc_only=True),
    "float64": RequestKind(lambda rng, x: x.astype(np.float64), error="float", grpc_only=True),
    "none": RequestKind(lambda rng, x: x[:0], error="", grpc_only=True),
    "too many": RequestKind(lambda rng, x: np.resize(x, (4200, *x.shape[1:])), error="4200 given", grpc_only=True),
    "many": RequestKind(lambda rng, x: np.resize(x, (1000, *x.shape[1:])), grpc_only=True),
    "truncated PNG": RequestKind(lambda rng, x: np.array([png(x[0]), png(x[0])[: rng.integers(20, 60)]], object), "serving_bytes", "PNG"),
    "truncated JPEG": RequestKind(lambda rng, x: np.array([jpeg(x[0])[: rng.integers(20, 60)]], object), "serving_bytes", ""),
    "no image": RequestKind(lambda rng, x: np.array([rng.bytes(50)], object), "serving_bytes", "neither PNG nor JPEG"),
    "no such signature": RequestKind(lambda rng, x: x, "serving_defalt", ""),
}  # fmt: skip


def send_request(kind, client, local, images, rng):
    """Send a request; return None if the answer is right, else a description of what is wrong."""
    values = kind.make(rng, images)
    try:
        answers = client.predict(kind.signature, values)
    except RequestRejected as error:
        message = str(error)
        expected = kind.error is not None and kind.error in message
        return None if expected else f"refused: {message[:200]}"
    if kind.error is not None:
        return "answered"
    expected = local.predict(kind.signature, values)
    if answers.keys() != expected.keys():
        return f"returned {sorted(answers)}"
    wrong = [n for n in expected if not np.allclose(answers[n], expected[n], atol=1e-4)]
    return f"wrong {wrong}" if wrong else None


def export_small_model(directory):
    """Export an untrained purifier in front of an untrained classifier."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    return export(tfdefense.defenses.APEGANPlusPlus(keras.Sequential(layers)), directory / NAME)


def resident_mib(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def run_requests(path, requests):
    local = open_model(path)
    command = [sys.executable, "-m", "tests.serving.fake_server", path]
    server = subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    grpc_address, rest_address = server.stdout.readline().split()
    clients = [GrpcClient(grpc_address, NAME), RestClient(rest_address, NAME)]
    pool = np.random.default_rng(0).random((64, *local.image_shape), np.float32)
    names = list(KINDS)
    counts, failures, memory = collections.Counter(), [], []

    def send_random_request(number):
        rng = np.random.default_rng(number)
        name = names[rng.integers(len(names))]
        kind = KINDS[name]
        client = clients[0] if kind.grpc_only else clients[rng.integers(2)]
        images = pool[rng.permutation(64)[: rng.integers(1, 33)]]
        return name, send_request(kind, client, local, images, rng)

    started = time.perf_counter()
    with (
        ProgressBar("requests", requests) as progress,
        ThreadPoolExecutor(_CLIENTS) as executor,
    ):
        for number, (name, wrong) in enumerate(
            executor.map(send_random_request, range(requests)), 1
        ):
            counts[name] += 1
            if wrong:
                failures.append(f"{name}: {wrong}")
            if number % max(1, requests // 10) == 0:
                memory.append(round(resident_mib(server)))
            progress.advance(1)
    seconds = time.perf_counter() - started
    server.stdin.close()
    server.wait()
    return {
        "benchmark": "mixed requests",
        "requests": requests,
        "clients": _CLIENTS,
        "wrong": len(failures),
        "first_wrong": failures[:5],
        "refused": sum(counts[name] for name, kind in KINDS.items() if kind.error is not None),
        "seconds": round(seconds, 1),
        "server_mib": memory,
        "kinds": dict(counts),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="an exported SavedModel (default: a small one)")
    parser.add_argument("--requests", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = run_requests(given.model or export_small_model(Path(scratch)), given.requests)
    print(json.dumps(result))
    sys.exit(result["wrong"] > 0)


if __name__ == "__main__":
    main()
