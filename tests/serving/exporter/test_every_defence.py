"""Every defence, exported in every precision: its answers, its batches, its signatures, its graph."""

import functools
from pathlib import Path

import numpy as np
import pytest
from tensorflow.python.tools import saved_model_cli

from tests.serving.batching import predict_joined
from tests.serving.conftest import encode_png
from tests.serving.session_model import SessionModel
from tests.serving.shown_signatures import documented_signatures, parse_signature
from tests.soak.runtime_backends import open_in_openvino
from tfdefense.defenses import DEFENSES
from tfdefense.defenses.denoised_smoothing import DenoisedSmoothing
from tfdefense.errors import UserError
from tfdefense.serving import Variant, export, open_model
from tfdefense.serving.exporter.operations import graph_requirements, signature_operations
from tfdefense.serving.exporter.other_runtimes import runtime_support, tried_operations

pytestmark = pytest.mark.slow

NUM_CLASSES = 3
_QUICK_OPTIONS = {
    "cgan": {"levels": 3},
    "defense_gan": {"restarts": 2, "search_steps": 5},
    "denoised_smoothing": {"votes": 2, "widths": (8, 16)},
    "robust_purifier": {"widths": (8, 16)},
}
_NOT_IN_TFLITE = ("defense_gan", "denoised_smoothing", "total_variation")
_NOT_IN_OPENVINO = ("defense_gan", "denoised_smoothing", "total_variation")
_ALLOWED_BATCH_SIZES = (1, 8, 32)
# Sizes of requests that are joined: many, exactly full, padded, alone.
_REQUESTS = ((3, 20, 9), (1, 2, 5), (3,), (1,))
# All need DisableCopyOnRead (2.10), which restores weights; a gradient in the graph needs MatMul's grad_a.
_OLDEST = {"defense_gan": "2.16"}
_ATOL = {"float32": 1e-4, "float16": 1e-3, "bfloat16": 0.05}


@pytest.fixture(scope="module", params=sorted(DEFENSES.names()))
def defense(request, toy_model):
    """An untrained defence, with few steps and small networks."""
    options = _QUICK_OPTIONS.get(request.param, {})
    return DEFENSES.get(request.param)(toy_model, **options)


@pytest.fixture(scope="module", params=_ATOL)
def precision(request):
    return request.param


@pytest.fixture(scope="module")
def exported(defense, precision, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfdefense.serving.exporter.signatures.CERTIFY_VOTES", 20)
        few = functools.partialmethod(DenoisedSmoothing.certify, selection_draws=4)
        patch.setattr(DenoisedSmoothing, "certify", few)
        directory = tmp_path_factory.mktemp(f"{defense.name}-{precision}")
        return export(defense, directory, Variant(precision=precision))


@pytest.fixture(scope="module")
def session(exported):
    model = SessionModel(exported)
    yield model
    model.session.close()


@pytest.fixture(scope="module")
def expected_logits(defense, toy_images):
    return np.asarray(defense.defend()(toy_images))


def test_the_logits_are_those_of_the_defence(
    defense, precision, session, expected_logits, toy_images
):
    found = session.predict("serving_default", {"images": toy_images})
    assert ("refused" in found) == defense.detects
    np.testing.assert_allclose(found["logits"], expected_logits, atol=_ATOL[precision])


def test_joined_requests_get_the_answers_that_they_get_alone(
    defense, precision, session, toy_images
):
    images = np.tile(toy_images, (2, 1, 1, 1))[:32]
    encoded = np.array([encode_png(image) for image in images], object)
    for signature in documented_signatures(defense, NUM_CLASSES):
        values = encoded if signature == "serving_bytes" else images
        together = None
        for sizes in _REQUESTS:
            parts = np.split(values[: sum(sizes)], np.cumsum(sizes)[:-1])
            answers = predict_joined(session, signature, parts, _ALLOWED_BATCH_SIZES)
            assert all(
                len(found) == size
                for size, answer in zip(sizes, answers, strict=True)
                for found in answer.values()
            )
            joined = {name: np.concatenate([each[name] for each in answers]) for name in answers[0]}
            together = together or joined
            for name, found in joined.items():
                expected, row = together[name][: len(found)], f"{signature}: {name} of {sizes}"
                if found.dtype == np.float32:
                    atol = _ATOL[precision]
                    np.testing.assert_allclose(found, expected, atol=atol, err_msg=row)
                elif precision != "bfloat16":
                    np.testing.assert_array_equal(found, expected, err_msg=row)


def test_saved_model_cli_shows_what_is_documented(defense, exported, capsys):
    documented = documented_signatures(defense, NUM_CLASSES)
    for signature, interface in documented.items():
        saved_model_cli._show_inputs_outputs(str(exported), "serve", signature)
        assert parse_signature(capsys.readouterr().out) == interface, signature


def test_no_export_needs_a_new_operation(defense, exported):
    """A new operation can raise the oldest TF Serving. Add it to `operations.txt` if that is wanted."""
    recorded = Path(__file__).with_name("operations.txt").read_text(encoding="utf-8").split()
    requirements = graph_requirements(exported)
    assert set(requirements.operations) <= set(recorded)
    assert requirements.oldest == _OLDEST.get(defense.name, "2.10")


def test_the_card_knows_all_operations_in_other_runtimes(exported):
    """Add a new operation to `runtimes.csv` with `python -m tests.soak.other_runtimes --write`."""
    needed = frozenset().union(*signature_operations(exported).values())
    assert needed - tried_operations() == set()


def test_the_card_says_what_openvino_can_run(defense, exported):
    supports = runtime_support(signature_operations(exported)["serving_default"])
    (support,) = (each for name, each in supports.items() if name.startswith("OpenVINO"))
    assert support.agrees == (defense.name not in _NOT_IN_OPENVINO)


@pytest.fixture
def open_export(exported, tmp_path):
    """A function that opens `serving_default` in OpenVINO."""
    pytest.importorskip("openvino")
    return functools.partial(open_in_openvino, exported, "serving_default", tmp_path)


def test_openvino_agrees_where_the_card_says_so(
    defense, precision, session, toy_images, open_export
):
    if precision != "float32" or defense.name in _NOT_IN_OPENVINO:
        return
    run = open_export()
    for count in (1, 3, 8):
        expected = session.predict("serving_default", {"images": toy_images[:count]})
        found = run(toy_images[:count])
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            atol = 1e-4 if values.dtype == np.float32 else 0
            np.testing.assert_allclose(found[name], values, rtol=0, atol=atol, err_msg=name)


def test_tflite_agrees_or_is_refused(defense, expected_logits, toy_images, tmp_path):
    if defense.name in _NOT_IN_TFLITE:
        message = f"--format=tflite: {defense.name} cannot be converted:"
        with pytest.raises(UserError, match=message):
            export(defense, tmp_path, Variant("tflite"))
        assert list(tmp_path.iterdir()) == []
        return
    path = export(defense, tmp_path, Variant("tflite"))
    found = open_model(path).predict("serving_default", toy_images)
    assert ("refused" in found) == defense.detects
    np.testing.assert_allclose(found["logits"], expected_logits, atol=1e-4)
