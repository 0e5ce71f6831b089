import os
import signal
import socket
import threading
import time

import pytest

from tests.training.distribute.test_multi_worker import free_ports
from tfdefense.errors import PreemptedError, UserError
from tfdefense.training.distribute import rendezvous
from tfdefense.training.distribute.rendezvous import wait_for_addresses


@pytest.fixture
def addresses(monkeypatch):
    monkeypatch.setattr(rendezvous, "_SECONDS_BETWEEN_TRIES", 0.02)
    return [f"localhost:{port}" for port in free_ports(2)]


def send_soon(number):
    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()


def test_workers_that_start_at_different_times_meet(addresses):
    first = threading.Thread(target=wait_for_addresses, args=(addresses[0], addresses[1:]))
    first.start()
    first.join(timeout=0.2)
    assert first.is_alive()
    wait_for_addresses(addresses[1], addresses[:1])
    # The first may have been between two tries: TensorFlow's server listens in reality.
    with socket.create_server(("", int(addresses[1].split(":")[1]))):
        first.join(timeout=10)
    assert not first.is_alive()


def test_sigterm_ends_the_wait_and_names_the_missing_worker(addresses):
    send_soon(signal.SIGTERM)
    with pytest.raises(PreemptedError, match=f"waiting for the worker on {addresses[1]}"):
        wait_for_addresses(addresses[0], addresses[1:])


def test_sigint_ends_the_wait_and_names_the_missing_worker(addresses):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    send_soon(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt, match=f"the worker on {addresses[1]}"):
            wait_for_addresses(addresses[0], addresses[1:])
    finally:
        signal.signal(signal.SIGINT, previous)


def test_sigterm_ends_a_wait_for_machines_that_do_not_answer(addresses, monkeypatch):
    monkeypatch.setattr(rendezvous, "_is_reachable", lambda *_: time.sleep(0.3) or False)
    send_soon(signal.SIGTERM)
    started = time.monotonic()
    with pytest.raises(PreemptedError, match="waiting for the workers on "):
        wait_for_addresses(addresses[0], 20 * addresses[1:])
    assert time.monotonic() - started < 2


def test_a_waiting_worker_answers_any_number_of_connections(addresses):
    thread = threading.Thread(target=wait_for_addresses, args=(addresses[0], addresses[1:]))
    thread.start()
    port = int(addresses[0].split(":")[1])
    try:
        for number in range(300):  # Linux keeps 128 waiting.
            if number % 100 == 0:
                time.sleep(0.2)
            socket.create_connection(("localhost", port), timeout=5).close()
    finally:
        with socket.create_server(("", int(addresses[1].split(":")[1]))):
            thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_port_in_use_is_named(addresses):
    port = int(addresses[0].split(":")[1])
    with (
        socket.create_server(("", port)),
        pytest.raises(UserError, match=f"port {port} of this worker .* cannot be used"),
    ):
        wait_for_addresses(addresses[0], addresses[1:])
