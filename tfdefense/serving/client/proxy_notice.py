"""Notice of a proxy that the environment names for a server: images pass through it."""

import contextlib
import ipaddress
import os
import urllib.parse
import urllib.request
from collections.abc import Sequence

from tfdefense.utils.progress import print_line
from tfdefense.utils.visible_text import visible_line

# The library `grpc` reads these, in this order.
_GRPC_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_GRPC_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")


def print_rest_proxy(address: str) -> None:
    """Print one line if requests to an address pass through a proxy.

    The rules are those of `urllib.request`, which curl and requests share: `http_proxy` or
    `https_proxy` names the proxy, and `no_proxy` lists hosts without one.

    Args:
      address: "http://host:port" or "https://host:port".
    """
    try:
        parts = urllib.parse.urlsplit(address)
    except ValueError:  # The first request names the fault.
        return
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        _print_notice(address, proxy, f"{parts.scheme}_proxy", parts.netloc)


def print_grpc_proxy(address: str) -> None:
    """Print one line if calls to "host:port" pass through a proxy, by the rules of `grpc`."""
    variable = next((name for name in _GRPC_VARIABLES if os.environ.get(name)), None)
    exceptions = next(filter(None, map(os.environ.get, _GRPC_EXCEPTIONS)), "")
    host = address.rpartition(":")[0] or address
    if variable is not None and not _is_grpc_exception(host, exceptions.split(",")):
        _print_notice(address, os.environ[variable], variable, address)


def _is_grpc_exception(host: str, exceptions: Sequence[str]) -> bool:
    """Return whether `no_proxy` names a host, the domain of a host, or the network of an address."""
    host = host.lower().strip("[]")
    for entry in exceptions:
        name = entry.strip().lower().removeprefix(".")
        if name and (host == name or host.endswith(f".{name}")):
            return True
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False):
                return True
    return False


def _print_notice(address: str, proxy: str, variable: str, host: str) -> None:
    """Print the line, with the proxy's place but without its password."""
    place = proxy.rpartition("@")[2].rpartition("//")[2].rstrip("/")
    name = host.rpartition("@")[2].rpartition(":")[0] or host
    print_line(
        visible_line(
            f"--server={address}: through the proxy {place}, as {variable} says. To go directly:"
            f" no_proxy={name}"
        )
    )
