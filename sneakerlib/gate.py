"""What stands between the network and the application: patience with limits, headers, a log, and numbers."""

import logging
import re
import secrets
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10  # for the head of a request to arrive, and for silence before it
WHOLE_SECONDS = 90  # for all of it, answered already or not: longer than `uploads.SECONDS`, which can still say why
MOST_HEAD = 65_536  # bytes of a head that is not finished
LEFT = 499  # what the log says where the client went away (nginx's number)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
log = logging.getLogger("sneakerlib.serving")


class Patient(HttpToolsProtocol):
    """HTTP as uvicorn reads it, for clients that may be slow, but not for ever, nor endlessly talkative."""

    patience, unfinished, in_head = None, 0, False

    def connection_made(self, transport) -> None:
        """Give the client some seconds to say what it wants."""
        super().connection_made(transport)
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc) -> None:
        """Nothing is waited for any more."""
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head without an end is cut off."""
        if self.patience is None:
            self._wait(HEAD_SECONDS)
        super().data_received(data)
        self.unfinished = self.unfinished + len(data) if self.in_head else 0
        if self.unfinished > MOST_HEAD:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A head begins."""
        self.in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there; the rest may take longer."""
        self.in_head = False
        self._wait(WHOLE_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All is there; from here on it is we who take time."""
        self._wait(None)
        super().on_message_complete()

    def _wait(self, seconds: float | None) -> None:
        if self.patience:
            self.patience.cancel()
        self.patience = self.loop.call_later(seconds, self.transport.abort) if seconds else None


class Numbers:
    """What `/metrics` tells.

    Args:
        inside: Says how many pictures wait or are worked on.
        paths: That are counted each by itself; all others are one.
    """

    def __init__(self, inside, paths: list[str]):
        self.registry, self.paths = CollectorRegistry(), set(paths)
        self.requests = Counter("sneakerlib_requests", "Requests answered", ["path", "status"], registry=self.registry)
        buckets = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
        self.seconds = Histogram(
            "sneakerlib_request_seconds", "Time to answer", ["path"], buckets=buckets, registry=self.registry
        )
        Gauge("sneakerlib_inside", "Pictures that wait or are worked on", registry=self.registry).set_function(inside)

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count one request."""
        path = path if path in self.paths else "other"
        self.requests.labels(path, status).inc()
        self.seconds.labels(path).observe(seconds)


class Gate:
    """Wraps an application: every answer gets its headers and a number, every request a line in the log.

    The line has the request's number, method, path, status and milliseconds; no picture, no file name, nobody's
    address.

    Args:
        app: What answers.
        numbers: What counts.
    """

    def __init__(self, app, numbers: Numbers):
        self.app, self.numbers = app, numbers

    async def __call__(self, scope, receive, send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun, name, status = time.monotonic(), _name_of(Headers(scope=scope)), LEFT

        async def sending(message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, headers = message["status"], MutableHeaders(scope=message)
                for header, value in HEADERS.items():
                    headers.setdefault(header, value)
                headers["X-Request-ID"] = name
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except ClientDisconnect:
            status = LEFT
        except Exception:  # it was answered with 500 already
            log.exception("%s failed", name)
        seconds = time.monotonic() - begun
        self.numbers.count(scope["path"], status, seconds)
        path = scope.get("raw_path", b"").decode("ascii", "replace")[:100]
        log.info("%s %s %s %d %.1f ms", name, scope["method"], path, status, 1000 * seconds)


def _name_of(headers: Headers) -> str:
    """The number that the client, or a proxy before it, gave a request; else a new one."""
    given = headers.get("x-request-id", "")
    return given if re.fullmatch(r"[A-Za-z0-9-]{1,64}", given) else secrets.token_hex(8)
