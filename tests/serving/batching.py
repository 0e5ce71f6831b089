"""Joined requests, as TF Serving makes them with `--enable_batching` and `allowed_batch_sizes`."""

import collections
import dataclasses
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from tests.serving.session_model import SessionModel


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """Fields of TF Serving's batching_parameters.txt, without `max_enqueued_batches`.

    The queues have no limit: a few clients do not fill them.
    """

    max_batch_size: int
    batch_timeout_micros: int
    num_batch_threads: int
    allowed_batch_sizes: tuple[int, ...]

    @classmethod
    def from_text(cls, text: str) -> "BatchingParameters":
        """Parse lines such as `max_batch_size { value: 128 }`."""
        found = collections.defaultdict(list)
        for name, value in re.findall(r"(\w+) \{ value: (\d+) \}", text):
            found[name].append(int(value))
        del found["max_enqueued_batches"]
        allowed = tuple(found.pop("allowed_batch_sizes"))
        return cls(allowed_batch_sizes=allowed, **{name: value for name, (value,) in found.items()})


def predict_joined(
    model: SessionModel,
    signature: str,
    requests: Sequence[np.ndarray],
    allowed_batch_sizes: Sequence[int],
) -> list[dict[str, np.ndarray]]:
    """Run several requests as one batch, and return the outputs of each.

    As in TF Serving's BatchingSession, the requests are joined in the first dimension and padded
    with the first row of the last one to the next allowed size. Each output is split again.

    Raises:
      ValueError: the requests cannot be joined, an output cannot be split, or the model rejects the
        batch.
    """
    if len({request.shape[1:] for request in requests}) > 1:
        raise ValueError("Tensors from different tasks have different shapes")
    if len({request.dtype for request in requests}) > 1:
        raise ValueError("Tensors from different tasks have different data types")
    count = sum(map(len, requests))
    size = min(allowed for allowed in allowed_batch_sizes if allowed >= count)
    padding = [requests[-1][:1]] * (size - count)
    (name,) = model.signatures[signature].inputs
    joined = model.predict(signature, {name: np.concatenate([*requests, *padding])})
    for output, values in joined.items():
        if values.ndim == 0:
            raise ValueError(f"{output}: Batched output tensor has 0 dimensions")
        if len(values) != size:
            raise ValueError(
                f"{output}: Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of"
                " the input tensors"
            )
    ends = np.cumsum([len(request) for request in requests])
    return [
        {name: values[end - len(request) : end] for name, values in joined.items()}
        for request, end in zip(requests, ends, strict=True)
    ]


class _Waiting(NamedTuple):
    """Request in the queue of its signature."""

    values: np.ndarray
    deadline: float
    answer: Future


class BatchingModel:
    """Model whose waiting requests are joined, with the methods of `SessionModel`.

    Each signature has a queue. A batch is run when the next request does not fit into it, or when
    its first request has waited for `batch_timeout_micros`. A mistake in one request fails all
    requests of its batch.

    Attributes:
      batches: number of batches that were run.
      joined: number of requests that were not alone in their batch.
    """

    def __init__(self, model: SessionModel, parameters: BatchingParameters) -> None:
        self.version, self.signatures = model.version, model.signatures
        self._model, self._parameters = model, parameters
        self._queues: dict[str, collections.deque[_Waiting]] = {
            signature: collections.deque() for signature in model.signatures
        }
        self._changed = threading.Condition()
        self._closed = False
        self.batches = self.joined = 0
        self._threads = [
            threading.Thread(target=self._run_batches, daemon=True)
            for _ in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def predict(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the request's part of the outputs of its batch.

        An empty request runs alone. TF Serving would join it, and pad a batch that it ends with its
        first row, which does not exist.
        """
        definition = self.signatures.get(signature)
        if definition is None or set(inputs) != set(definition.inputs):
            return self._model.predict(signature, inputs)
        (values,) = inputs.values()
        if values.ndim == 0:
            raise ValueError("Batching Run() input tensors must have at least one dimension")
        limit = self._parameters.max_batch_size
        if len(values) > limit:
            message = f"Task size {len(values)} is larger than maximum input batch size {limit}"
            raise ValueError(message)
        if len(values) == 0:
            return self._model.predict(signature, inputs)
        deadline = time.monotonic() + self._parameters.batch_timeout_micros / 1e6
        request = _Waiting(values, deadline, Future())
        with self._changed:
            self._queues[signature].append(request)
            self._changed.notify_all()
        return request.answer.result()

    def close(self) -> None:
        """Answer the requests that wait, and close the model."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._model.close()

    def _run_batches(self) -> None:
        while (batch := self._next_batch()) is not None:
            signature, requests = batch
            values = [request.values for request in requests]
            allowed = self._parameters.allowed_batch_sizes
            try:
                answers = predict_joined(self._model, signature, values, allowed)
            except Exception as error:
                for request in requests:
                    request.answer.set_exception(error)
                continue
            for request, answer in zip(requests, answers, strict=True):
                request.answer.set_result(answer)

    def _next_batch(self) -> tuple[str, list[_Waiting]] | None:
        """Remove a batch from its queue when it is full or due; None at the end."""
        with self._changed:
            while True:
                waiting = [(q[0].deadline, name) for name, q in self._queues.items() if q]
                for deadline, name in sorted(waiting):
                    count, full = self._count_joinable(self._queues[name])
                    if full or self._closed or deadline <= time.monotonic():
                        self.batches += 1
                        self.joined += count if count > 1 else 0
                        return name, [self._queues[name].popleft() for _ in range(count)]
                if self._closed:
                    return None
                if waiting:
                    self._changed.wait(max(0, min(waiting)[0] - time.monotonic()))
                else:
                    self._changed.wait()

    def _count_joinable(self, requests: collections.deque[_Waiting]) -> tuple[int, bool]:
        """Return how many requests one batch takes, and if no further one fits into it."""
        limit, size = self._parameters.max_batch_size, 0
        for count, request in enumerate(requests):
            size += len(request.values)
            if size > limit:
                return count, True
        return len(requests), size == limit
