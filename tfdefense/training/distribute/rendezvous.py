"""Wait for the other workers to start, in Python, so that signals end it.

TensorFlow waits for them inside C++ and holds Python's lock meanwhile, so no handler of Python and
no other thread runs. It also replaces the handler of SIGTERM.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence

from tfdefense.errors import PreemptedError, UserError
from tfdefense.training.preemption import PreemptionHandler
from tfdefense.utils.progress import print_line

_SECONDS_BETWEEN_TRIES = 0.5
_TIMEOUT_SECONDS = 2.0
_SAY_EVERY_SECONDS = 30.0


def wait_for_addresses(own: str, others: Sequence[str]) -> None:
    """Return when every other worker listens on its address; listen on this worker's meanwhile.

    Worker processes leave this function at different times. One that has left listens with
    TensorFlow's server, which the others see as well.

    Args:
      own: address of this worker, HOST:PORT.
      others: addresses of the other workers.

    Raises:
      UserError: another process uses the port.
      PreemptedError: SIGTERM arrived.
      KeyboardInterrupt: SIGINT arrived; its text says what was waited for.
    """
    missing = list(others)
    say_at = time.monotonic() + _SAY_EVERY_SECONDS
    with PreemptionHandler() as preemption, _listen(own) as server:
        try:
            while missing := [
                each for each in missing if preemption.requested or not _is_reachable(each, server)
            ]:
                waited_for = _describe_workers(missing)
                if preemption.requested:
                    raise PreemptedError(f"stopped by SIGTERM while waiting for {waited_for}.")
                if time.monotonic() >= say_at:
                    print_line(f"still waiting for {waited_for} ...")
                    say_at += _SAY_EVERY_SECONDS
                time.sleep(_SECONDS_BETWEEN_TRIES)
        except KeyboardInterrupt:
            waited_for = _describe_workers(missing)
            raise KeyboardInterrupt(f"interrupted while waiting for {waited_for}.") from None
        if preemption.requested:
            raise PreemptedError("stopped by SIGTERM before the training began.")


def _describe_workers(addresses: Sequence[str]) -> str:
    return f"the worker{'s' if len(addresses) > 1 else ''} on {', '.join(addresses)}"


def _is_reachable(address: str, server: socket.socket) -> bool:
    """Return whether a worker listens on an address; let `server` answer who asked meanwhile."""
    _accept_all(server)
    try:
        with socket.create_connection(_host_and_port(address), timeout=_TIMEOUT_SECONDS):
            return True
    except OSError:  # Not started yet, or its name is not known yet.
        return False


def _accept_all(server: socket.socket) -> None:
    """Accept and close all connections. A server whose queue is full looks as if it had ended."""
    with contextlib.suppress(BlockingIOError):
        while True:
            server.accept()[0].close()


@contextlib.contextmanager
def _listen(address: str) -> Iterator[socket.socket]:
    """Listen on the port of an address inside this context, without waiting for connections."""
    _, port = _host_and_port(address)
    try:
        if socket.has_dualstack_ipv6():
            server = socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128
            )
        else:
            server = socket.create_server(("", port), backlog=128)
    except OSError as error:
        raise UserError(
            f"--strategy=multi_worker: port {port} of this worker ({address}) cannot be used:"
            f" {os.strerror(error.errno or 0)}. End the process that uses it, or give other ports in"
            " TF_CONFIG."
        ) from error
    server.settimeout(0)
    with server:
        yield server


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
