"""10,000 mixed requests to an exported model behind the stand-in server, from eight clients at once.

    .venv/bin/python -m tests.soak.serving_load [--model=DIR] [--requests=10000]

Right ones of every size and kind, and what clients do wrong: other sizes, ranges, types and ranks, NaN, too many images, none,
damaged files, signatures that there are not. Every answer must be the model's own, or the error that belongs to the mistake; and the
server's memory must not grow. Prints one JSON object; exit status 1 if anything was wrong.
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
from tests.serving.stand_in import NAME
from tfdefense.serving import export, open_model
from tfdefense.serving.client.grpc_client import GrpcClient
from tfdefense.serving.client.model_client import RequestRejected
from tfdefense.serving.client.rest_client import RestClient
from tfdefense.utils.progress import ProgressBar

_CLIENTS = 8
_ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of request.

    Attributes:
      make: random generator, images -> what is sent.
      signature: whom it is sent to.
      said: what the error must say; None where an answer must come.
      grpc_only: JSON cannot say it.
    """

    make: Callable
    signature: str = "serving_default"
    said: str | None = None
    grpc_only: bool = False


def png(image):
    return tf.io.encode_png(np.uint8(np.round(255 * image))).numpy()


def jpeg(image):
    return tf.io.encode_jpeg(np.uint8(np.round(255 * image))).numpy()


def encoded(images, how=png):
    return np.array([how(image) for image in images], object)


def spoilt(images, value):
    images = images.copy()
    images[-1, 0, 0, 0] = value
    return images


KINDS = {
    "images": Kind(lambda rng, x: x),
    "purify": Kind(lambda rng, x: x, "purify"),
    "classify": Kind(lambda rng, x: x, "classify"),
    "PNGs": Kind(lambda rng, x: encoded(x[:8]), "serving_bytes"),
    "JPEGs": Kind(lambda rng, x: encoded(x[:8], jpeg), "serving_bytes"),
    "PNGs of another size": Kind(lambda rng, x: encoded(np.tile(x[:4], (1, 2, 3, 1))), "serving_bytes"),
    "other size": Kind(lambda rng, x: x[:, 1:], said="images: shape ["),
    "other channels": Kind(lambda rng, x: np.tile(x, (1, 1, 1, 2)), said="images: shape ["),
    "no batch": Kind(lambda rng, x: x[0], said=""),
    "0-255": Kind(lambda rng, x: 255 * x, said="Divide 0-255 values by 255"),
    "one value too high": Kind(lambda rng, x: spoilt(x, 1.01), said="[0, 1] needed"),
    "NaN": Kind(lambda rng, x: spoilt(x, np.nan), said="(or NaN) given, [0, 1] needed"),
    "infinity": Kind(lambda rng, x: spoilt(x, np.inf), said="[0, 1] needed"),
    "bytes as numbers": Kind(lambda rng, x: np.uint8(255 * x), said="float", grpc_only=True),
    "float64": Kind(lambda rng, x: x.astype(np.float64), said="float", grpc_only=True),
    "none": Kind(lambda rng, x: x[:0], said="", grpc_only=True),
    "too many": Kind(lambda rng, x: np.resize(x, (4200, *x.shape[1:])), said="4200 given", grpc_only=True),
    "many": Kind(lambda rng, x: np.resize(x, (1000, *x.shape[1:])), grpc_only=True),
    "truncated PNG": Kind(lambda rng, x: np.array([png(x[0]), png(x[0])[: rng.integers(20, 60)]], object), "serving_bytes", "PNG"),
    "truncated JPEG": Kind(lambda rng, x: np.array([jpeg(x[0])[: rng.integers(20, 60)]], object), "serving_bytes", ""),
    "no image": Kind(lambda rng, x: np.array([rng.bytes(50)], object), "serving_bytes", "neither PNG nor JPEG"),
    "no such signature": Kind(lambda rng, x: x, "serving_defalt", ""),
}  # fmt: skip


def outcome(kind, client, local, images, rng):
    """None where the answer to a request is as it must be, else what was wrong."""
    values = kind.make(rng, images)
    try:
        answers = client.predict(kind.signature, values)
    except RequestRejected as error:
        said = str(error)
        return None if kind.said is not None and kind.said in said else f"refused: {said[:200]}"
    if kind.said is not None:
        return "answered"
    wanted = local.predict(kind.signature, values)
    if answers.keys() != wanted.keys():
        return f"gave {sorted(answers)}"
    wrong = [name for name in wanted if not np.allclose(answers[name], wanted[name], atol=1e-4)]
    return f"wrong {wrong}" if wrong else None


def small_model(directory):
    """An untrained purifier before an untrained classifier: a server does not mind."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    return export(tfdefense.defenses.APEGANPlusPlus(keras.Sequential(layers)), directory / NAME)


def resident_mib(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def run(path, requests):
    local = open_model(path)
    command = [sys.executable, "-m", "tests.serving.stand_in", path]
    server = subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    grpc_address, rest_address = server.stdout.readline().split()
    clients = [GrpcClient(grpc_address, NAME), RestClient(rest_address, NAME)]
    pool = np.random.default_rng(0).random((64, *local.image_shape), np.float32)
    names = list(KINDS)
    counts, failures, memory = collections.Counter(), [], []

    def ask(number):
        rng = np.random.default_rng(number)
        name = names[rng.integers(len(names))]
        kind = KINDS[name]
        client = clients[0] if kind.grpc_only else clients[rng.integers(2)]
        images = pool[rng.permutation(64)[: rng.integers(1, 33)]]
        return name, outcome(kind, client, local, images, rng)

    started = time.perf_counter()
    with (
        ProgressBar("requests", requests) as progress,
        ThreadPoolExecutor(_CLIENTS) as clients_at_once,
    ):
        for number, (name, wrong) in enumerate(clients_at_once.map(ask, range(requests)), 1):
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
        "refused": sum(counts[name] for name, kind in KINDS.items() if kind.said is not None),
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
        result = run(given.model or small_model(Path(scratch)), given.requests)
    print(json.dumps(result))
    sys.exit(result["wrong"] > 0)


if __name__ == "__main__":
    main()
