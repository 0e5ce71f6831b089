"""One HTTP request that has a deadline and an answer of a limited size."""

import contextlib
import dataclasses
import http.client
import urllib.error
import urllib.request
from email.message import Message
from typing import Any

from tfdefense.errors import UserError, cut_text, require, short_reason
from tfdefense.serving.client.model_client import (
    ServerUnreachable,
    call_within,
    deadline_error,
    not_a_server_error,
)

_ERROR_BYTES = 2**20
_PART_BYTES = 2**20
_REDIRECTIONS = (301, 302, 303, 307, 308)


@dataclasses.dataclass(frozen=True)
class HttpReply:
    """Answer of a server.

    Attributes:
      status: the HTTP status, such as 200.
      content: the body; of an error at most the first MiB.
    """

    status: int
    content: bytes

    @property
    def is_success(self) -> bool:
        """True for a status of 200 to 299."""
        return 200 <= self.status < 300


@dataclasses.dataclass(frozen=True)
class HttpExchange:
    """Requests to one server, which must answer itself, in JSON, completely and in time.

    Attributes:
      location: start of error messages.
      timeout: seconds for one answer, from the request to the last byte.
    """

    location: str
    timeout: float

    def send(self, url: str, body: bytes | None, limit: int) -> HttpReply:
        """Send a GET, or a POST if there is a body, and return the answer.

        Args:
          url: the address.
          body: JSON, or None.
          limit: largest number of bytes of the answer.

        Raises:
          ServerUnreachable: no connection, or one that the server has closed.
          UserError: the answer is not HTTP or JSON, a redirection, compressed, too large, cut off or
            too late; or the address is not valid.
        """
        try:
            return call_within(lambda: self._exchange(url, body, limit), self.timeout)
        except UserError:
            raise
        except TimeoutError as error:
            raise deadline_error(self.location, self.timeout) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise deadline_error(self.location, self.timeout) from error
            raise ServerUnreachable(short_reason(_as_error(error.reason))) from error
        except http.client.InvalidURL as error:
            raise UserError(f"{self.location}: not a valid address: {error}.") from error
        except http.client.IncompleteRead as error:
            raise self._refuse("ends too early") from error
        except http.client.HTTPException as error:
            if isinstance(error, http.client.RemoteDisconnected):
                raise ServerUnreachable(str(error)) from error
            raise self._refuse(
                "is not HTTP. The REST port of TF Serving is 8501; its gRPC port, 8500, needs"
                " --server=HOST:8500"
            ) from error
        except OSError as error:
            raise ServerUnreachable(short_reason(error)) from error
        except ValueError as error:
            raise UserError(f"{self.location}: not a valid address: {error}.") from error

    def _exchange(self, url: str, body: bytes | None, limit: int) -> HttpReply:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers)
        opener = urllib.request.build_opener(_RefuseRedirects)  # It reads the proxies.
        try:
            response: Any = opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            status = int(response.status)
            if status in _REDIRECTIONS:
                raise UserError(
                    f"{self.location}: redirects to {cut_text(response.headers.get('Location', ''))!r}:"
                    " not followed, because images are sent only to the server that is named. If it is"
                    " the right one, name it with --server."
                )
            if not 200 <= status < 300:
                return HttpReply(status, _read_error(response))
            self._require_plain_json(response.headers)
            return HttpReply(status, self._read(response, limit))

    def _require_plain_json(self, headers: Message) -> None:
        coding = headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise self._refuse(f"is compressed ({cut_text(coding)}), which was not asked for")
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind and not kind.endswith(("/json", "+json")):
            raise self._refuse(
                f"is {cut_text(kind)}; application/json is needed. Is there a proxy or a login page in"
                " front of it?"
            )

    def _read(self, response: Any, limit: int) -> bytes:
        declared = response.headers.get("Content-Length", "")
        declared_size = int(declared) if declared.isascii() and declared.isdecimal() else None
        too_large = f"{self.location}: its answer is larger than {limit:,} bytes."
        require(declared_size is None or declared_size <= limit, too_large)
        parts, size = [], 0
        # In parts: a read of many bytes allocates memory for all of them before the first arrives.
        while part := response.read(_PART_BYTES):
            parts.append(part)
            size += len(part)
            require(size <= limit, too_large)
        if declared_size is not None and size < declared_size:
            raise self._refuse(f"ends after {size:,} of {declared_size:,} bytes")
        return b"".join(parts)

    def _refuse(self, reason: str) -> UserError:
        return not_a_server_error(self.location, f"its answer {reason}")


def _read_error(response: Any) -> bytes:
    """Return the body of an error; nothing if it cannot be read, because the status says enough."""
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        return bytes(response.read(_ERROR_BYTES))
    return b""


def _as_error(reason: Any) -> Exception:
    return reason if isinstance(reason, Exception) else OSError(str(reason))


class _RefuseRedirects(urllib.request.HTTPRedirectHandler):
    """A server that was named must answer itself: images are not sent to a place that it names."""

    def redirect_request(self, *arguments: Any) -> None:
        """Return None, which makes a redirection an `HTTPError`."""
