"""Mixed requests to a server: valid ones of every kind, and the mistakes of clients."""

import collections
import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from tests.soak.output_agreement import agrees
from tfdefense.serving.client.model_client import RequestRejected
from tfdefense.utils.progress import ProgressBar

CLIENTS = 8
_ATTEMPTS = 100  # Of a valid request whose batch has an invalid one.
_INVALID_SHARE = 0.1  # With batching; without it, every kind is as frequent.


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

_TOO_LARGE = {
    name: dataclasses.replace(KINDS[name], error=f"Task size {size} is larger than maximum")
    for name, size in {"many": 1000, "too many": 4200}.items()
}
BATCHING_KINDS = {**KINDS, **_TOO_LARGE}


def draw_kind(rng, batching):
    """Return the name of a kind of request, and the kind."""
    kinds, names = (BATCHING_KINDS if batching else KINDS), list(KINDS)
    if batching:
        invalid = rng.random() < _INVALID_SHARE
        names = [name for name in names if (kinds[name].error is not None) == invalid]
    name = names[rng.integers(len(names))]
    return name, kinds[name]


def send_request(kind, client, local, values, batching):
    """Send a request; return how often it was sent again, and what is wrong with the answer."""
    for again in range(_ATTEMPTS):
        try:
            answers = client.predict(kind.signature, values)
        except RequestRejected as error:
            message = f"refused: {str(error)[:200]}"
            if kind.error is None:
                if batching:
                    continue
                return again, message
            # An error of a batch can be that of another request in it.
            expected = (batching and kind not in _TOO_LARGE.values()) or kind.error in str(error)
            return again, None if expected else message
        return again, check_answer(kind, values, answers, local)
    return _ATTEMPTS, message


def check_answer(kind, values, answers, local):
    """Return None if the answer is that of the model itself, else a description."""
    if kind.error is not None:
        return "answered"
    expected = local.predict(kind.signature, values)
    if answers.keys() != expected.keys():
        return f"returned {sorted(answers)}"
    wrong = [n for n in expected if not agrees(n, answers[n], expected[n])]
    return f"wrong {wrong}" if wrong else None


def send_requests(clients, local, requests, *, batching=False, measure=lambda: 0):
    """Send requests from several threads and check each answer.

    Args:
      clients: the gRPC and the REST client of a server.
      local: the same model without a server.
      batching: true if the server joins requests.
      measure: function that is called after each tenth of the requests.

    Returns:
      Numbers of requests, a few of the failures, and what `measure` returned.
    """
    pool = np.random.default_rng(0).random((64, *local.image_shape), np.float32)
    counts, failures, measured, sent_again = collections.Counter(), [], [], 0

    def send_random_request(number):
        rng = np.random.default_rng(number)
        name, kind = draw_kind(rng, batching)
        client = clients[0] if kind.grpc_only else clients[rng.integers(2)]
        images = pool[rng.permutation(64)[: rng.integers(1, 33)]]
        values = kind.make(rng, images)
        return name, kind, send_request(kind, client, local, values, batching)

    with (
        ProgressBar("requests", requests) as progress,
        ThreadPoolExecutor(CLIENTS) as executor,
    ):
        answers = executor.map(send_random_request, range(requests))
        for number, (name, kind, (again, wrong)) in enumerate(answers, 1):
            counts[name, kind.error is not None] += 1
            sent_again += again
            if wrong:
                failures.append(f"{name}: {wrong}")
            if number % max(1, requests // 10) == 0:
                measured.append(measure())
            progress.advance(1)
    return {
        "requests": requests,
        "clients": CLIENTS,
        "wrong": len(failures),
        "first_wrong": failures[:5],
        "refused": sum(count for (_, invalid), count in counts.items() if invalid),
        "sent_again": sent_again,
        "kinds": {name: count for (name, _), count in counts.items()},
        "measured": measured,
    }
