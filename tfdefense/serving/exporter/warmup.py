"""Requests that TF Serving sends itself before it answers anybody: the first real one is then not slow."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.utils.progress import say

FILE = "assets.extra/tf_serving_warmup_requests"
_BATCHES = (1, 8, 32)


def save_warmup_requests(signatures: Signatures, path: Path, model_name: str) -> None:
    """Writes requests of several sizes to every signature into the SavedModel at `path`.

    Without the package `tensorflow-serving-api` it says so and writes none.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        say(
            "No warm-up requests: they need tensorflow-serving-api (pip install tfdefense[serving])."
        )
        return
    images = np.random.default_rng(0).random((max(_BATCHES), *signatures.image_shape), np.float32)
    encoded = [tf.io.encode_png(np.uint8(np.round(255 * image))).numpy() for image in images]
    most = min(signatures.max_batch, signatures.defense.batch_size)
    file = path / FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature in signatures.functions():
            taken, values = "images", images
            if signature == "serving_bytes":
                taken, values = "image_bytes", np.array(encoded, object)
            for size in sorted({min(size, most) for size in _BATCHES}):
                request = predict_pb2.PredictRequest()
                request.model_spec.name = model_name
                request.model_spec.signature_name = signature
                request.inputs[taken].CopyFrom(tf.make_tensor_proto(values[:size]))
                log = prediction_log_pb2.PredictLog(request=request)
                record = prediction_log_pb2.PredictionLog(predict_log=log)
                writer.write(record.SerializeToString())
