"""Joined requests, as TF Serving makes them with `--enable_batching` and `allowed_batch_sizes`."""

from collections.abc import Sequence

import numpy as np

from tests.serving.fake_server import SessionModel


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
      ValueError: an output cannot be split, or the model rejects the batch.
    """
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
