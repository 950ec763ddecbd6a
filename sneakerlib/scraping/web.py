"""Fetch from the web: politely, within limits, and from public addresses only."""

import asyncio
import os
import socket
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

import aiohttp
from protego import Protego
from yarl import URL

from sneakerlib import InputError
from sneakerlib.scraping import manners
from sneakerlib.scraping.manners import AGENT, LONGEST_WAIT, WEB, FetchError, Host

CONNECT, SILENCE = 5, 10  # seconds to connect, and between two pieces of an answer
MOST_BYTES = 20_000_000  # of one answer: more than any camera's JPEG, less than would fill a disk
PER_HOST, DELAY = 4, 0.1  # requests at a time to one host (a browser makes 6), and seconds between two
TRIES, REDIRECTS = 3, 5  # of one picture; of one try
OWN = ContextVar("own", default=False)  # whether the host that is being asked is one of the user's own


class Web:
    """Fetches over HTTP, many addresses at a time, by an event loop in a thread of its own: a notebook may use it, too.

    Args:
        allow: `HOST:PORT` of hosts of your own, which may have a private address and are asked without delay.
            Defaults to none: then every address must be a public one, after name lookup and after each redirect.
        seconds: For one answer, redirects and second tries included, waiting for its turn not. Defaults to 30.
        most_bytes: Of one answer, unpacked. Defaults to 20,000,000.
        connections: At a time. Defaults to 64, of them 4 to one host, unless it is one of `allow`.

    Raises:
        InputError: If an entry of `allow` is no `HOST:PORT`.
    """

    def __init__(self, allow: Iterable[str] = (), *, seconds=30.0, most_bytes=MOST_BYTES, connections=64):
        self.seconds, self.most_bytes, self._connections = seconds, most_bytes, connections
        self._own, self._hosts = set(map(manners.named, allow)), {}  # places, as `manners.place` names them

    def allow(self, name: str) -> None:
        """Allow one more host of your own, as `HOST:PORT`."""
        self._own.add(manners.named(name))

    def pace(self, url: str, delay: float, per_host: int = 1) -> None:
        """Ask the host of this address at most `per_host` at a time, with `delay` seconds between two requests."""
        self._hosts[manners.place(manners.parse(url, url))] = Host(per_host, delay)

    def __enter__(self) -> "Web":
        """Start the thread that fetches."""
        started = Future()
        self._workers = ThreadPoolExecutor(os.cpu_count() or 1)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(started)), daemon=True)
        self._thread.start()
        self._loop, self._ended = started.result()
        return self

    def __exit__(self, *_) -> None:
        """Give up whatever is still under way."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._workers.shutdown(cancel_futures=True)

    def get(self, url: str, *, headers: dict | None = None, data: dict | None = None, robots: bool = False) -> bytes:
        """Fetch one address and wait for it, or raise a FetchError; `data` makes it a POST.

        `robots` asks the host's robots.txt first; headers are not sent to another host that it may redirect to.
        """
        fetching = self._fetch(url, _whole, headers, data, robots)
        return asyncio.run_coroutine_threadsafe(fetching, self._loop).result()

    def start(self, url: str, file: Path, then: Callable, robots: bool = True) -> Future:
        """Begin to download into a file, then call `then` in a worker thread, whose result or error is the future's."""

        async def into(pieces):
            with file.open("wb") as opened:
                async for piece in pieces:
                    opened.write(piece)

        async def download():
            await self._fetch(url, into, robots=robots)
            return await self._loop.run_in_executor(self._workers, then)

        return asyncio.run_coroutine_threadsafe(download(), self._loop)

    async def _live(self, started: Future) -> None:
        """Serve until the end; `asyncio.run` then cancels what is still under way."""
        self._slots, ended = asyncio.Semaphore(self._connections), asyncio.Event()
        async with aiohttp.ClientSession(
            # The address is judged where the connection is made: names, redirects and rebinding all pass here.
            connector=aiohttp.TCPConnector(limit=0, socket_factory=self._socket),
            headers={"User-Agent": manners.user_agent(), "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # done in `_unpacked`, within the limit
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE),
        ) as self._session:
            started.set_result((asyncio.get_running_loop(), ended))
            await ended.wait()

    def _socket(self, found: tuple) -> socket.socket:
        family, kind, protocol, _, address = found
        if not manners.is_public(address[0]) and not OWN.get():
            raise OSError(f"{address[0]}, which is not a public address")
        return socket.socket(family, kind, protocol)

    def _host(self, target: URL) -> Host:
        new = Host(self._connections, 0) if manners.place(target) in self._own else Host(PER_HOST, DELAY)
        return self._hosts.setdefault(manners.place(target), new)

    async def _fetch(self, url: str, take: Callable, headers=None, data=None, robots=False):
        """Follow redirects and try again where that may help; `take` gets the body, piece by piece."""
        address, left, tries, redirects = url, self.seconds, 1, 0
        while True:
            target = manners.parse(url, address)
            host = self._host(target)
            if robots:
                await self._permit(url, target, host)
            try:
                async with host.turn(), self._slots:
                    begun = time.monotonic()
                    try:
                        async with asyncio.timeout(left):
                            address, taken = await self._ask(url, target, take, headers, data)
                    finally:
                        left -= time.monotonic() - begun
            except TimeoutError:
                raise FetchError(url, f"took longer than {self.seconds:g} s", "try again later") from None
            except FetchError as error:
                if error.wait is None or error.wait > LONGEST_WAIT or tries == TRIES:
                    raise
                if error.wait:  # it knows that we are too fast, so everybody waits
                    host.slow_down(error.wait)
                else:
                    await asyncio.sleep(tries)
                tries += 1
                continue
            if address is None:
                return taken
            if (redirects := redirects + 1) > REDIRECTS:
                raise FetchError(url, f"redirects more than {REDIRECTS} times")
            if manners.place(manners.parse(url, address)) != manners.place(target):
                headers, data = None, None

    async def _ask(self, url: str, target: URL, take: Callable, headers, data) -> tuple:
        """Send one request: (where it redirects to or None, what `take` made of the body)."""
        how = {"headers": headers, "data": data, "allow_redirects": False}
        OWN.set(manners.place(target) in self._own)
        try:
            async with self._session.request("POST" if data else "GET", target, **how) as answer:
                if answer.status in (301, 302, 303, 307, 308) and "Location" in answer.headers:
                    return str(target.join(URL(answer.headers["Location"]))), None
                if not 200 <= answer.status < 300:
                    busy = answer.status in (429, 500, 502, 503, 504)
                    wait = manners.asked_wait(answer.headers) if busy else None
                    cure = "try again later" if busy else "check the address"
                    raise FetchError(url, f"answered {answer.status}", cure, status=answer.status, wait=wait)
                return None, await take(_unpacked(url, answer, self.most_bytes))
        except FetchError:
            raise
        except aiohttp.ServerTimeoutError:
            raise FetchError(url, "did not answer in time", "try again later") from None
        except aiohttp.ClientConnectorError as error:
            if "not a public address" in (why := str(error.os_error)):
                cure = f"if the host is yours, name it with --allow-host {target.host_subcomponent}:{target.port}"
                raise FetchError(url, f"leads to {why}", cure) from None
            raise FetchError(url, f"cannot be reached at {target.host}", "check the address and the network") from None
        except (aiohttp.ClientPayloadError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            raise FetchError(url, "broke off the connection", "try again later", wait=0) from None
        except (aiohttp.ClientError, ValueError) as error:
            raise FetchError(url, f"answered against the rules of HTTP ({type(error).__name__})") from None

    async def _permit(self, url: str, target: URL, host: Host) -> None:
        """Ask the host's robots.txt, which is read once; raises if it says no, or cannot be read (RFC 9309, 2.3.1)."""
        async with host.reading:
            if host.rules is None:
                try:
                    text = await self._fetch(str(target.with_path("/robots.txt")), _whole)
                    host.rules = Protego.parse(text[:500_000].decode("utf-8", "replace"))  # as much as the RFC asks for
                    host.delay = max(host.delay, min(host.rules.crawl_delay(AGENT) or 0, LONGEST_WAIT))
                except FetchError as error:
                    missing = 400 <= error.status < 500 and error.status != 429
                    host.rules = Protego.parse("") if missing or manners.place(target) in self._own else error
        if isinstance(host.rules, FetchError):
            raise FetchError(url, f"{host.rules.reason} (asked for robots.txt)", "try again later")
        if not host.rules.can_fetch(str(target), AGENT):
            raise FetchError(url, f"is closed to programs by the robots.txt of {target.host}", "leave it out")


async def _unpacked(url: str, answer: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    """The body in pieces, unpacked if it was sent compressed, and cut off at `most` bytes."""
    packing = answer.headers.get("Content-Encoding", "identity").lower()
    if packing not in ("identity", "gzip", "x-gzip", "deflate"):
        raise FetchError(url, f"is packed as {packing}, which was not asked for", lasting=True)
    unpacker = None if packing == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: finds the header
    size, promised = 0, answer.content_length or 0
    try:
        async for piece in answer.content.iter_chunked(65536):
            while piece:  # never more than a little of it at a time: a bomb grows a thousandfold
                out, piece = (unpacker.decompress(piece, 65536), unpacker.unconsumed_tail) if unpacker else (piece, b"")
                if max(size := size + len(out), promised) > most:
                    raise FetchError(url, f"is larger than {most / 1e6:g} MB", "use a smaller picture", lasting=True)
                yield out
    except zlib.error:
        raise FetchError(url, "is packed wrongly", lasting=True) from None


async def _whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def content(source: str, allow: Iterable[str] = ()) -> bytes:
    """The bytes of a file, by its path or its address on the web.

    Args:
        source: A path, or an address that begins with http:// or https://.
        allow: See `Web`. Defaults to none.

    Raises:
        InputError: If there is none; a `FetchError` if the address cannot be fetched.
    """
    if source.startswith(WEB):
        with Web(allow) as web:
            return web.get(source)
    try:
        return Path(source).read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {source}: check the path") from error
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror}): name a picture file") from error
