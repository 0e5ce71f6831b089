"""bin/purify before servers that misbehave: one line, status 2, nothing half-written."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.serving.client import misbehaving_rest as rest
from tests.serving.client.misbehaving_rest import RestAnswer, serve_rest
from tfdefense.cli.main import main
from tfdefense.serving.client.grpc_client import GrpcClient
from tfdefense.serving.client.predictions_file import FILE

grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving")
from tests.serving.client import misbehaving_grpc as rpc  # noqa: E402
from tests.serving.client.misbehaving_grpc import GrpcAnswer, serve_bytes, serve_grpc  # noqa: E402
from tests.serving.client.misbehaviours import (  # noqa: E402
    GRPC_ANSWERS,
    GRPC_METADATA,
    NO_SERVER,
    NOT_HTTP2,
    REST_ANSWERS,
    REST_METADATA,
    TOO_LATE,
)


@pytest.fixture
def purify(tmp_path, monkeypatch, capfd):
    """Return a function that purifies two images by a server and returns what is printed."""
    monkeypatch.setattr("tfdefense.serving.client.model_client._ATTEMPTS", 1)
    (tmp_path / "in").mkdir()
    for name in ("0.png", "1.png"):
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "in" / name)
    places = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]

    def purify(address, message, timeout=20.0):
        seconds = 1.0 if TOO_LATE in message else timeout
        flags = [f"--server={address}", "--model=m", f"--timeout={seconds}", *places]
        status = main(["purify", *flags])
        return status, capfd.readouterr().err

    return purify


def require_one_line(result, message, tmp_path):
    status, printed = result
    assert status == 2, printed
    assert printed.startswith("tfdefense: --server=")
    assert printed.count("\n") == 1
    assert re.search(message, printed.rstrip()), printed
    written = sorted(tmp_path.glob("out/**/*"))
    assert [path.name for path in written] in ([], [FILE])
    assert all(len(path.read_text().splitlines()) == 1 for path in written)


@pytest.mark.parametrize(("answer", "message"), REST_ANSWERS.values(), ids=REST_ANSWERS)
def test_a_wrong_answer_over_rest_is_one_line(answer, message, purify, tmp_path):
    with serve_rest(answer) as address:
        require_one_line(purify(address, message), message, tmp_path)


@pytest.mark.parametrize(("answer", "message"), REST_METADATA.values(), ids=REST_METADATA)
def test_wrong_metadata_over_rest_is_one_line(answer, message, purify, tmp_path):
    with serve_rest(RestAnswer(), answer) as address:
        require_one_line(purify(address, message), message, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("answer", "message"), GRPC_ANSWERS.values(), ids=GRPC_ANSWERS)
def test_a_wrong_answer_over_grpc_is_one_line(answer, message, purify, tmp_path):
    with serve_grpc(answer) as address:
        require_one_line(purify(address, message), message, tmp_path)


@pytest.mark.parametrize(("answer", "message"), GRPC_METADATA.values(), ids=GRPC_METADATA)
def test_wrong_metadata_over_grpc_is_one_line(answer, message, purify, tmp_path):
    with serve_grpc(GrpcAnswer(), answer) as address:
        require_one_line(purify(address, message), message, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("send", "message"), NOT_HTTP2.values(), ids=NOT_HTTP2)
def test_a_server_that_does_not_speak_http2_is_one_line(send, message, purify, tmp_path):
    with serve_bytes(send) as address:
        require_one_line(purify(address, message), message, tmp_path)


def test_the_log_of_grpc_is_not_shown(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "in" / "0.png")
    places = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    with serve_bytes(rpc.send_goaway) as address:
        command = [sys.executable, "-m", "tfdefense.cli.main", "purify"]
        flags = [f"--server={address}", "--model=m", "--timeout=1", *places]
        done = subprocess.run(
            [*command, *flags], env=environment, capture_output=True, text=True, check=False
        )
    require_one_line((done.returncode, done.stderr), f"{NO_SERVER}|{TOO_LATE}", tmp_path)


def test_sound_answers_are_written(purify, tmp_path):
    for server in (
        serve_rest(RestAnswer(rest.outputs())),
        serve_grpc(GrpcAnswer(rpc.outputs())),
    ):
        with server as address:
            status, printed = purify(address, "")
        assert status == 0, printed
        pixels = np.asarray(Image.open(tmp_path / "out" / "0.png"))
        assert pixels[0, 0] in (64, 128)
        assert len((tmp_path / "out" / FILE).read_text().splitlines()) == 3


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_a_server_that_rejects_every_image_is_a_list_of_skipped_files(kind, purify, tmp_path):
    rejection = {
        "grpc": serve_grpc(
            GrpcAnswer(status=grpc.StatusCode.INVALID_ARGUMENT, details="too\ndark")
        ),
        "rest": serve_rest(RestAnswer({"error": "too\ndark"}, 400)),
    }
    with rejection[kind] as address:
        status, printed = purify(address, "")
    assert status == 1
    assert "2 of 2 files skipped, for the reasons above. None was purified." in printed
    assert not list(tmp_path.glob("out/*.png"))


def test_answers_above_4_mib_are_read_and_other_clients_need_an_option():
    images = np.zeros((2, 512, 512, 3), np.float32)
    with serve_grpc(
        GrpcAnswer(rpc.outputs(purified=images)), GrpcAnswer(rpc.metadata((512, 512, 3)))
    ) as address:
        outputs = GrpcClient(address, "m").predict("serving_default", images)
        assert outputs["purified"].nbytes > 4 * 2**20
        channel = grpc.insecure_channel(address)
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError, match="Received message larger than max"):
            call(b"", timeout=20)


def test_sound_answers_may_have_outputs_that_are_not_read(purify):
    extra = rest.outputs(names=["a", "b"], more=[[1], [2, 3]])
    with serve_rest(RestAnswer(extra)) as address:
        assert purify(address, "")[0] == 0
