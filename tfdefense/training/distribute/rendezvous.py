"""Wait for the other workers to start, in Python, so that signals end it.

TensorFlow waits for them inside C++ and holds Python's lock meanwhile, so no handler of Python and
no other thread runs. It also replaces the handler of SIGTERM.
"""

import contextlib
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
    with PreemptionHandler() as preemption, _listen(own):
        try:
            while missing := [each for each in missing if not _is_reachable(each)]:
                if preemption.requested:
                    raise PreemptedError(f"stopped by SIGTERM while waiting for {_names(missing)}.")
                if time.monotonic() >= say_at:
                    print_line(f"still waiting for {_names(missing)} ...")
                    say_at += _SAY_EVERY_SECONDS
                time.sleep(_SECONDS_BETWEEN_TRIES)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted while waiting for {_names(missing)}.") from None
        if preemption.requested:
            raise PreemptedError("stopped by SIGTERM before the training began.")


def _names(addresses: Sequence[str]) -> str:
    return f"the worker{'s' if len(addresses) > 1 else ''} on {', '.join(addresses)}"


def _is_reachable(address: str) -> bool:
    try:
        with socket.create_connection(_host_and_port(address), timeout=_TIMEOUT_SECONDS):
            return True
    except OSError:  # Not started yet, or its name is not known yet.
        return False


@contextlib.contextmanager
def _listen(address: str) -> Iterator[None]:
    """Accept connections on the port of an address inside this context."""
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
            f" {error.strerror}. End the process that uses it, or give other ports in TF_CONFIG."
        ) from error
    with server:
        yield


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
