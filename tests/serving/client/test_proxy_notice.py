"""The line that names a proxy of the environment."""

import socket
import threading

import pytest

from tfdefense.errors import UserError
from tfdefense.serving.client.grpc_client import GrpcClient
from tfdefense.serving.client.proxy_notice import print_grpc_proxy, print_rest_proxy
from tfdefense.serving.client.rest_client import RestClient

VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxy():
    """Address of a proxy that answers nothing, and the first bytes that it was sent."""
    received = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                received.append(connection.recv(100))
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", received


@pytest.mark.parametrize(
    "case",
    [
        (RestClient, "http://model.invalid:8501", "http_proxy", b"GET http://model.invalid:8501/"),
        (RestClient, "https://model.invalid:8501", "https_proxy", b"CONNECT model.invalid:8501"),
        (GrpcClient, "model.invalid:8500", "grpc_proxy", b"CONNECT model.invalid:8500"),
        (GrpcClient, "model.invalid:8500", "http_proxy", b"CONNECT model.invalid:8500"),
    ],
)
def test_a_proxy_that_is_used_is_named(proxy, monkeypatch, capsys, case):
    place, received = proxy
    client, address, variable, request_line = case
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv(variable, f"http://user:secret@{place}")
    with pytest.raises(UserError):
        client(address, "m", 5.0)
    assert received[0].startswith(request_line)
    printed = capsys.readouterr().out
    expected = f"--server={address}: through the proxy {place}, as {variable} says."
    assert printed == f"{expected} To go directly: no_proxy=model.invalid\n"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"http_proxy": "p:1", "no_proxy": "gpu7"},
        {"http_proxy": "p:1", "no_proxy": "other,.gpu7"},
        {"ftp_proxy": "p:1"},
    ],
)
def test_without_a_proxy_nothing_is_printed(monkeypatch, capsys, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    print_rest_proxy("http://gpu7:8501")
    print_grpc_proxy("gpu7:8500")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("exceptions", "is_direct"),
    [("*", False), ("7.0.0.1", False), ("127.0.0.0/8", True), (" x, 0.0.1", True), ("", False)],
)
def test_the_exceptions_are_those_of_the_grpc_library(
    proxy, monkeypatch, capsys, exceptions, is_direct
):
    place, received = proxy
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("http_proxy", f"http://{place}")
    monkeypatch.setenv("no_proxy", exceptions)
    with pytest.raises(UserError):
        GrpcClient("127.0.0.1:1", "m", 5.0)
    assert bool(received) is not is_direct
    assert ("through the proxy" in capsys.readouterr().out) is not is_direct


def test_another_kind_of_server_has_another_proxy(monkeypatch, capsys):
    monkeypatch.setenv("https_proxy", "p:1")
    print_rest_proxy("http://gpu7:8501")
    assert capsys.readouterr().out == ""
    print_grpc_proxy("gpu7:8500")
    assert "through the proxy p:1, as https_proxy says" in capsys.readouterr().out


def test_an_address_that_is_none_is_one_line(monkeypatch):
    monkeypatch.setenv("http_proxy", "p:1")
    with pytest.raises(UserError, match="not a valid address"):
        RestClient("http://[::1:8501", "m", 5.0)
