"""Clients of a server: unreachable servers, other models, and mixed requests."""

import dataclasses
import socket
import sys

import pytest

from tests.serving import fake_server
from tests.serving.batching import BatchingModel
from tests.serving.guide import guide_batching
from tests.serving.session_model import SessionModel
from tests.soak.mixed_requests import send_requests
from tests.soak.serving_load import run_requests
from tfdefense.cli.main import main
from tfdefense.errors import UserError
from tfdefense.serving import open_model
from tfdefense.serving.client.grpc_client import GrpcClient
from tfdefense.serving.client.rest_client import RestClient


@pytest.fixture
def places(folder, tmp_path):
    return [f"--input={folder}", f"--output={tmp_path / 'out'}"]


@pytest.fixture(scope="module")
def server_of_another_model(toy_model, tmp_path_factory):
    """Addresses of a server whose model was not exported by this library, by port."""
    path = tmp_path_factory.mktemp("other") / "1"
    toy_model.export(path, verbose=False)
    with fake_server.serve_model(path) as addresses:
        yield dict(zip(("grpc", "rest"), addresses, strict=True))


def find_closed_port():
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        return unused.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_an_unreachable_server_is_reported(scheme, places, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    address = f"{scheme}localhost:{find_closed_port()}"
    assert main(["purify", f"--server={address}", "--model=ape", *places]) == 2
    message = f"--server={address}: no server answers. Start one with: docker run"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_serving_api_the_error_says_how_to_install_it(places, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    assert main(["purify", "--server=localhost:8500", "--model=ape", *places]) == 2
    message = "install it with: .venv/bin/pip install '.[serving]'; or use the REST port"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("port", ["grpc", "rest"])
def test_a_model_that_is_not_served_is_reported(port, server, places, capsys):
    assert main(["purify", f"--server={server[port]}", "--model=other", *places]) == 2
    assert "model 'other': " in capsys.readouterr().err


@pytest.mark.parametrize("port", ["grpc", "rest"])
def test_a_model_of_another_library_is_reported(port, server_of_another_model, places, capsys):
    flags = [f"--server={server_of_another_model[port]}", f"--model={fake_server.NAME}"]
    assert main(["purify", *flags, *places]) == 2
    message = capsys.readouterr().err
    assert "not a model of bin/export: its serving_default takes" in message
    assert "output_0" in message


@pytest.mark.slow
def test_images_go_to_the_version_that_was_opened(exported, toy_images):
    model = SessionModel(exported)
    with fake_server.serve_loaded(model) as (grpc_address, rest_address):
        name = fake_server.NAME
        clients = [GrpcClient(grpc_address, name), RestClient(rest_address, name)]
        for client in clients:
            assert client.version == f"{name}/1"
            client.predict("serving_default", toy_images[:2])
        model.version = 2
        for client in clients:
            with pytest.raises(UserError, match="Servable not found"):
                client.predict("serving_default", toy_images[:2])


@pytest.mark.slow
def test_mixed_requests_get_right_outputs_or_clear_errors(exported):
    """The short form of `tests/soak/serving_load.py`."""
    result = run_requests(exported, 100)
    assert (result["requests"], result["first_wrong"], result["wrong"]) == (100, [], 0)
    assert 25 < result["refused"] < 97


@pytest.mark.slow
def test_requests_that_the_server_joins_get_right_outputs_too(exported):
    """The short form of `tests/soak/serving_load.py --batching`."""
    # A longer wait than in the guide, so that more requests are joined.
    parameters = dataclasses.replace(guide_batching(), batch_timeout_micros=50_000)
    model = BatchingModel(SessionModel(exported), parameters)
    with fake_server.serve_loaded(model) as (grpc_address, rest_address):
        name = fake_server.NAME
        clients = [GrpcClient(grpc_address, name), RestClient(rest_address, name)]
        result = send_requests(clients, open_model(exported), 100, batching=True)
    assert (result["requests"], result["first_wrong"], result["wrong"]) == (100, [], 0)
    assert 2 < result["refused"] < 30
    assert model.joined > 50
