"""What stands between the network and the model: limits, places for who waits, headers, a log, and numbers."""

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

MOST_BYTES = 20_000_000  # of one request: more than any camera's JPEG
MOST_HELD = 200_000_000  # bytes of all requests that are being read or worked on
MOST_DRAINED = 100_000_000  # bytes of a request that is too large, read and dropped before it is told so
MOST_PARTS = 8  # of a form: one or two are wanted
MOST_JSON = 10_000  # bytes: addresses are shorter
SENDING = 60  # seconds for a request to be sent in full: a telephone may need half of it for 5 MB
ANSWERING = 10  # seconds for an answer, waiting for its turn included
FIELDS = ("img", "image")  # under which a picture may be sent
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


def busy() -> HTTPException:
    """Too much is going on."""
    return HTTPException(503, "too many pictures at once: try again in a second", {"Retry-After": "1"})


class Lanes:
    """Threads that work, and a limited number of jobs that wait for them."""

    def __init__(self, threads: int, waiting: int):
        self.pool, self.most, self.inside = ThreadPoolExecutor(threads), threads + waiting, 0

    async def __call__(self, job: Callable, *given):
        """Do a job when it is its turn; raises `busy` if too many wait already, or if it takes too long."""
        if self.inside >= self.most:
            raise busy()
        self.inside += 1
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(self.pool, job, *given), ANSWERING)
        except TimeoutError:
            raise busy() from None
        finally:
            self.inside -= 1


class Address(BaseModel):
    """A picture somewhere on the web."""

    url: str


class Uploads:
    """Reads requests, each within a limit, and all of them together within another."""

    def __init__(self):
        self.held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request, more: tuple[str, ...] = (), urls: bool = False) -> AsyncIterator[dict]:
        """The picture of a form as `img`, fields among `more` by their name; or the `url` of JSON; held while used."""
        kind, mine = request.headers.get("content-type", ""), 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal mine
            async for piece in _limited(request):
                mine += len(piece)
                self.held += len(piece)
                if self.held > MOST_HELD:
                    raise busy()
                yield piece

        try:
            async with asyncio.timeout(SENDING):
                if kind.lower().startswith("multipart/form-data"):
                    sent = await _form(kind, pieces(), more)
                else:
                    body = b"".join([piece async for piece in pieces()])
                    if not (urls and kind.lower().startswith("application/json")):
                        raise HTTPException(415, "send the picture as multipart/form-data, in a field named img")
                    sent = {"url": Address.model_validate_json(body[:MOST_JSON]).url}
        except ValidationError:
            raise HTTPException(400, 'the JSON names no address: send {"url": "https://…"}') from None
        except TimeoutError:
            reason = f"the request took longer than {SENDING:g} s: check the connection and try again"
            raise HTTPException(408, reason, {"Connection": "close"}) from None
        else:
            yield sent
        finally:
            self.held -= mine


async def _limited(request: Request) -> AsyncIterator[bytes]:
    """The body of a request piece by piece, as far as it is not too large."""
    too_large = HTTPException(413, f"the picture is larger than {MOST_BYTES / 1e6:g} MB: send a smaller one")
    announced, size = int(request.headers.get("content-length", 0)), 0
    if announced > MOST_DRAINED or (announced > MOST_BYTES and "expect" in request.headers):
        raise too_large
    async for piece in request.stream():
        size += len(piece)
        if size > MOST_DRAINED:
            break
        if max(size, announced) <= MOST_BYTES:  # whoever still sends would not read an answer: let the rest come
            yield piece
    if size > MOST_BYTES:
        raise too_large


async def _form(kind: str, pieces: AsyncIterator[bytes], more: tuple[str, ...]) -> dict[str, bytes]:
    """The parts of a form by name, if one is a picture and none unknown; also a picture without a name, as a text."""
    headers = Headers({"content-type": f"{kind}; charset=latin-1"})  # which keeps every byte of a text
    limits = {"max_files": MOST_PARTS, "max_fields": MOST_PARTS, "max_part_size": MOST_BYTES}
    parser = MultiPartParser(headers, pieces, **limits)
    parser.spool_max_size = MOST_BYTES  # else what is larger than a megabyte would be put into a file
    try:
        parts = (await parser.parse()).multi_items()
    except MultiPartException as error:
        async for _ in pieces:  # let the rest come, as above
            pass
        reason = f"the form cannot be read ({error.message.rstrip('.')}): send multipart/form-data, field img"
        raise HTTPException(400, reason) from None
    names = ["img" if name in FIELDS else name for name, _ in parts]
    given = [part.encode("latin-1", "replace") if isinstance(part, str) else await part.read() for _, part in parts]
    found = dict(zip(names, given, strict=True))
    if names.count("img") != 1 or not found["img"]:
        count = "an empty one" if names.count("img") == 1 else names.count("img") or "none"
        raise HTTPException(400, f"one picture is wanted in a field named img or image, found {count}")
    if not found.keys() <= {"img", *more}:
        raise HTTPException(400, f"there is a field that nobody asked for: send {', '.join(('img', *more))}")
    return found


def watched(app: FastAPI, registry: CollectorRegistry) -> Callable:
    """The same application, but every answer has its headers and a number, is counted and timed, and logged in a line.

    The line has that number, method, path, status and milliseconds; no picture, no file name, nobody's address.
    """
    counted = Counter("sneakerlib_requests", "Requests answered", ["path", "status"], registry=registry)
    seconds = Histogram("sneakerlib_request_seconds", "Time to answer", ["path"], registry=registry)
    paths = {route.path for route in app.routes}

    async def answer(scope, receive, send) -> None:
        begun, status, name = time.monotonic(), LEFT, Headers(scope=scope).get("x-request-id", "")
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):  # of the client, or of a proxy before it
            name = secrets.token_hex(8)

        async def sending(message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, headers = message["status"], MutableHeaders(scope=message)
                headers.update({header: value for header, value in HEADERS.items() if header not in headers})
                headers["X-Request-ID"] = name
            await send(message)

        try:
            await app(scope, receive, sending)
        except ClientDisconnect:
            status = LEFT
        except Exception:  # it was answered with 500 already
            log.exception("%s failed", name)
        path, took = scope["path"], time.monotonic() - begun
        counted.labels(path if path in paths else "other", status).inc()
        seconds.labels(path if path in paths else "other").observe(took)
        shown = scope["raw_path"].decode("ascii", "replace")[:100]
        log.info("%s %s %s %d %.1f ms", name, scope["method"], shown, status, 1000 * took)

    return answer
