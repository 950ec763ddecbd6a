"""What stands between the network and the application: headers, a log, and numbers."""

import logging
import re
import secrets
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect

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
log = logging.getLogger("sneakerlib.deployment.serving")


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
