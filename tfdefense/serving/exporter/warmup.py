"""Warm-up requests, which TF Serving runs while it loads a model, so that the first is fast."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.utils.progress import print_line

FILE = "assets.extra/tf_serving_warmup_requests"
_BATCH_SIZES = (1, 8, 32)


def save_warmup_requests(signatures: Signatures, path: Path, model_name: str) -> None:
    """Write requests of several batch sizes for every signature into the SavedModel at `path`.

    Print a note and write nothing if the package `tensorflow-serving-api` is not installed.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        print_line(
            "Warm-up requests are left out: tensorflow-serving-api is not installed."
            " Install it with: pip install tfdefense[serving]"
        )
        return
    largest = max(_BATCH_SIZES)
    images = np.random.default_rng(0).random((largest, *signatures.image_shape), np.float32)
    encoded = [tf.io.encode_png(np.uint8(np.round(255 * image))).numpy() for image in images]
    limit = min(signatures.max_batch, signatures.defense.batch_size)
    file = path / FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature in signatures.functions():
            input_name, values = "images", images
            if signature == "serving_bytes":
                input_name, values = "image_bytes", np.array(encoded, object)
            for size in sorted({min(size, limit) for size in _BATCH_SIZES}):
                request = predict_pb2.PredictRequest()
                request.model_spec.name = model_name
                request.model_spec.signature_name = signature
                request.inputs[input_name].CopyFrom(tf.make_tensor_proto(values[:size]))
                log = prediction_log_pb2.PredictLog(request=request)
                record = prediction_log_pb2.PredictionLog(predict_log=log)
                writer.write(record.SerializeToString())
