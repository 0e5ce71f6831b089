"""Warm-up requests of an exported model."""

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.serving.fake_server import SessionModel


@pytest.mark.slow
def test_the_model_answers_its_warm_up_requests(exported):
    model = SessionModel(exported)
    requests = set()
    records = tf.data.TFRecordDataset(str(exported / "assets.extra/tf_serving_warmup_requests"))
    for record in records.as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == "apeganpp"
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        model.predict(request.model_spec.signature_name, inputs)
        (values,) = inputs.values()
        requests.add((request.model_spec.signature_name, len(values)))
    names = ("serving_default", "purify", "classify", "serving_bytes")
    assert requests == {(name, size) for name in names for size in (1, 8, 32)}
