"""Warm-up requests of an exported model."""

import sys

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.serving.session_model import SessionModel
from tfdefense.defenses import DenoisedSmoothing
from tfdefense.errors import UserError
from tfdefense.serving import Variant, export
from tfdefense.serving.exporter.operations import GraphRequirements
from tfdefense.serving.exporter.requirements_section import requirements_section
from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.serving.exporter.warmup import save_warmup_requests, warmup_batch_sizes

NAMES = ("serving_default", "purify", "classify", "serving_bytes")


@pytest.mark.slow
def test_the_model_answers_its_warm_up_requests(exported):
    found = answer_requests(exported, "apeganpp")
    assert found == {(name, size) for name in NAMES for size in (1, 8, 32)}


@pytest.mark.slow
def test_each_signature_has_a_request_of_each_allowed_batch_size(small_defense, tmp_path):
    path = export(small_defense, tmp_path / "bits", Variant(batch_sizes=(128, 1, 8, 3)))
    found = answer_requests(path, "bits")
    assert found == {(name, size) for name in NAMES for size in (1, 3, 8, 128)}
    assert "Warm-up requests of 1, 3, 8, 128 images" in (path / "model_card.md").read_text()


def test_default_sizes_fit_into_a_request(small_defense):
    variant = Variant(max_batch=20)
    assert warmup_batch_sizes(Signatures(small_defense, 20), variant) == (1, 8, 20)


def test_certify_is_warmed_up_with_one_image_only(toy_model, tmp_path):
    """One image takes 1,100 forward passes."""
    signatures = Signatures(DenoisedSmoothing(toy_model, widths=(4, 8)), max_batch=20)
    assert save_warmup_requests(signatures, tmp_path, "smoothing", (1, 8, 20))
    sizes = {}
    for request in read_requests(tmp_path):
        (values,) = request.inputs.values()
        signature = request.model_spec.signature_name
        sizes.setdefault(signature, []).append(values.tensor_shape.dim[0].size)
    assert sizes == {**{name: [1, 8, 20] for name in NAMES}, "certify": [1]}


@pytest.mark.parametrize(
    ("certifies", "sentence"),
    [
        (False, "Warm-up requests of 1, 8 images for each signature. With"),
        (True, "for each signature but `certify`, which has one of 1 image. With"),
    ],
)
def test_the_card_says_which_signatures_are_warmed_up(certifies, sentence):
    lines = requirements_section(GraphRequirements((), "2.10", ()), (1, 8), certifies=certifies)
    assert sentence in "\n".join(lines)


def test_a_request_of_2_gib_is_refused(small_defense):
    size = 2**31 // (4 * 12 * 12)
    variant = Variant(max_batch=size, batch_sizes=(1, size))
    with pytest.raises(UserError, match=f"--batch_sizes={size}: a request of so many images"):
        warmup_batch_sizes(Signatures(small_defense, size), variant)


def test_without_the_serving_api_a_line_says_how_to_install_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    assert not save_warmup_requests(None, tmp_path, "model", (1,))
    assert "install it with: .venv/bin/pip install '.[serving]'\n" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def answer_requests(path, model_name):
    """Run all warm-up requests; return their signatures and numbers of images."""
    model, requests = SessionModel(path), set()
    for request in read_requests(path):
        assert request.model_spec.name == model_name
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        model.predict(request.model_spec.signature_name, inputs)
        (values,) = inputs.values()
        requests.add((request.model_spec.signature_name, len(values)))
    return requests


def read_requests(path):
    """Yield the warm-up requests of the model at `path`."""
    records = tf.data.TFRecordDataset(str(path / "assets.extra/tf_serving_warmup_requests"))
    for record in records.as_numpy_iterator():
        yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request


def test_a_full_disk_is_an_error_of_the_system(small_defense, tmp_path, monkeypatch):
    def fail(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io, "TFRecordWriter", fail)
    with pytest.raises(OSError, match="No space left on device"):
        save_warmup_requests(Signatures(small_defense, 1), tmp_path, "model", (1,))
