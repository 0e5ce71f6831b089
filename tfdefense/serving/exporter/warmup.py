"""Warm-up requests, which TF Serving runs while it loads a model, so that the first is fast."""

import math
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfdefense.errors import require
from tfdefense.serving.exporter.output_directory import tensorflow_error_as_os_error
from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.serving.exporter.variant import Variant
from tfdefense.utils.progress import print_line

FILE = "assets.extra/tf_serving_warmup_requests"
_BATCH_SIZES = (1, 8, 32)
# One image takes 1,100 forward passes, so more would make the start of a server slow.
_CERTIFY_SIZES = (1,)
_MAX_REQUEST_BYTES = 2**31 - 2**20  # A protocol buffer has less than 2 GiB.


def warmup_batch_sizes(signatures: Signatures, variant: Variant) -> tuple[int, ...]:
    """Return the numbers of images of the warm-up requests, in ascending order.

    Raises:
      UserError: a request would be larger than a server accepts.
    """
    if variant.batch_sizes is None:
        limit = min(signatures.max_batch, signatures.defense.batch_size)
        return tuple(sorted({min(size, limit) for size in _BATCH_SIZES}))
    sizes = tuple(sorted(set(variant.batch_sizes)))
    image_bytes = 4 * math.prod(signatures.image_shape)
    largest = _MAX_REQUEST_BYTES // image_bytes
    require(
        sizes[-1] <= largest,
        f"--batch_sizes={sizes[-1]}: a request of so many images has more than 2 GiB; at most {largest:,} are"
        " possible.",
    )
    return sizes


def save_warmup_requests(
    signatures: Signatures, path: Path, model_name: str, sizes: tuple[int, ...]
) -> bool:
    """Write one request of each size for every signature into the SavedModel at `path`.

    The signature `certify` has one request, of one image.

    Args:
      signatures: signatures of the model.
      path: directory of the SavedModel.
      model_name: name under which a server has the model.
      sizes: numbers of images.

    Returns:
      False if nothing is written because the package `tensorflow-serving-api` is not installed. A
      line says so.

    Raises:
      OSError: the file cannot be written.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        print_line(
            "Warm-up requests are left out: tensorflow-serving-api is not installed."
            " In a clone, install it with: .venv/bin/pip install '.[serving]'"
        )
        return False
    images = np.random.default_rng(0).random((max(sizes), *signatures.image_shape), np.float32)
    encoded = [tf.io.encode_png(np.uint8(np.round(255 * image))).numpy() for image in images]
    file = path / FILE
    file.parent.mkdir()
    with tensorflow_error_as_os_error(), tf.io.TFRecordWriter(str(file)) as writer:
        for signature in signatures.functions():
            input_name, values = "images", images
            if signature == "serving_bytes":
                input_name, values = "image_bytes", np.array(encoded, object)
            for size in _CERTIFY_SIZES if signature == "certify" else sizes:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = model_name
                request.model_spec.signature_name = signature
                request.inputs[input_name].CopyFrom(tf.make_tensor_proto(values[:size]))
                log = prediction_log_pb2.PredictLog(request=request)
                record = prediction_log_pb2.PredictionLog(predict_log=log)
                writer.write(record.SerializeToString())
    return True
