"""Fetch from the web: politely, within limits, and from public addresses only."""

import asyncio
import os
import socket
import threading
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import aiohttp
from protego import Protego
from yarl import URL

from sneakerlib import InputError
from sneakerlib.scraping.addresses import WEB, FetchError, is_public, key_of, parse, places
from sneakerlib.scraping.politeness import AGENT, LONGEST_WAIT, Host, asked_wait, user_agent

T = TypeVar("T")
CONNECT, SILENCE, SECONDS = 5, 10, 30  # seconds to connect, between two pieces of an answer, for a picture in all
MOST_BYTES = 20_000_000  # of one answer: more than any camera's JPEG, less than would fill a disk
CONNECTIONS, PER_HOST, DELAY = 64, 4, 0.1  # at a time; of them to one host (a browser takes 6); seconds between two
TRIES, REDIRECTS = 3, 5  # of one picture; of one try


class Web:
    """Fetches over HTTP, many addresses at a time, and never waits for one of them longer than it should.

    The work is done by an event loop in a thread of its own, so it is called alike from a script and a notebook.

    Args:
        allow: `HOST:PORT` of hosts of your own, which may have a private address and are asked without delay.
            Defaults to none: then every address must be a public one, after name lookup and after each redirect.
        seconds: For one answer, redirects and second tries included, waiting for its turn not. Defaults to 30.
        most_bytes: Of one answer, unpacked. Defaults to 20,000,000.
        connections: At a time. Defaults to 64.
        per_host: Connections to one host at a time. Defaults to 4; to one of `allow`, `connections`.
        delay: Seconds between the starts of two requests to one host. Defaults to 0.1; to one of `allow`, 0.

    Raises:
        InputError: If an entry of `allow` is no `HOST:PORT`, or its name is unknown.
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        *,
        seconds: float = SECONDS,
        most_bytes: int = MOST_BYTES,
        connections: int = CONNECTIONS,
        per_host: int = PER_HOST,
        delay: float = DELAY,
    ):
        self.seconds, self.most_bytes = seconds, most_bytes
        self._connections, self._per_host, self._delay = connections, per_host, delay
        self._own: set[tuple[str, int]] = set()
        self._hosts: dict[str, Host] = {}
        for name in allow:
            self.allow(name)

    def __enter__(self) -> "Web":
        """Start the thread that fetches."""
        self._loop = asyncio.new_event_loop()
        self._workers = ThreadPoolExecutor(os.cpu_count() or 1)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._submit(self._open()).result()
        return self

    def __exit__(self, *_) -> None:
        """Give up whatever is still under way."""
        self._submit(self._close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._workers.shutdown(cancel_futures=True)

    def allow(self, name: str) -> None:
        """Allow one more host of your own, as `HOST:PORT`."""
        self._own.update(places(name))

    def get(self, url: str, *, headers: dict | None = None, data: dict | None = None, robots: bool = False) -> bytes:
        """Fetch one address and wait for it.

        Args:
            url: The address.
            headers: Sent with it, not to another host that it may redirect to.
            data: Form fields; with them, the request is a POST.
            robots: Ask the host's robots.txt first. Defaults to False.

        Raises:
            FetchError: With one line that says why it cannot be had.
        """
        return self._submit(self._fetch(url, _whole, headers=headers, data=data, robots=robots)).result()

    def start(self, url: str, file: Path, then: Callable[[], T], robots: bool = True) -> "Future[T]":
        """Begin to download into a file; once it is there, call `then` in a worker thread.

        Args:
            url: The address.
            file: Where to; what is left there after a failure is not whole.
            then: Its result, or its exception, becomes the future's.
            robots: Ask the host's robots.txt first. Defaults to True.
        """

        async def into(pieces):
            with file.open("wb") as opened:
                async for piece in pieces:
                    opened.write(piece)

        async def download():
            await self._fetch(url, into, robots=robots)
            return await self._loop.run_in_executor(self._workers, then)

        return self._submit(download())

    def pace(self, url: str, delay: float, per_host: int = 1) -> None:
        """Ask the host of this address at most `per_host` at a time, with `delay` seconds between two requests."""
        target = parse(url, url)

        async def set_pace():
            self._hosts[key_of(target)] = Host(per_host, delay)

        self._submit(set_pace()).result()

    def _submit(self, coroutine) -> Future:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _open(self) -> None:
        self._slots = asyncio.Semaphore(self._connections)
        self._session = aiohttp.ClientSession(
            # The address is judged where the connection is made: names, redirects and rebinding all pass here.
            connector=aiohttp.TCPConnector(limit=0, socket_factory=self._socket),
            headers={"User-Agent": user_agent(), "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # done in `_unpacked`, within the limit
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE),
        )

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    def _socket(self, found: tuple) -> socket.socket:
        family, kind, protocol, _, address = found
        if not is_public(address[0]) and tuple(address[:2]) not in self._own:
            raise OSError(f"{address[0]}, which is not a public address")
        return socket.socket(family, kind, protocol)

    def _host(self, target: URL) -> Host:
        if (key := key_of(target)) not in self._hosts:
            own = (target.host, target.port) in self._own
            host = Host(self._connections, 0) if own else Host(self._per_host, self._delay)
            self._hosts[key] = host
        return self._hosts[key]

    async def _fetch(self, url: str, take: Callable, *, robots=False, headers=None, data=None) -> T:
        """Follow redirects and try again where that may help; `take` gets the body, piece by piece."""
        address, left, tries, redirects = url, self.seconds, 1, 0
        while True:
            target = parse(url, address)
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
            except _Again as again:
                if tries == TRIES or again.wait > LONGEST_WAIT:
                    asks = f" and asks to wait {again.wait:.0f} s" if again.wait > LONGEST_WAIT else ""
                    raise FetchError(url, again.reason + asks, "try again later", status=again.status) from None
                if again.wait:  # it knows that we are too fast, so everybody waits
                    host.slow_down(again.wait)
                else:
                    await asyncio.sleep(tries)
                tries += 1
                continue
            if address is None:
                return taken
            if (redirects := redirects + 1) > REDIRECTS:
                raise FetchError(url, f"redirects more than {REDIRECTS} times")
            if key_of(parse(url, address)) != key_of(target):
                headers, data = None, None

    async def _ask(self, url: str, target: URL, take: Callable[[AsyncIterator[bytes]], Awaitable[T]], headers, data):
        """Send one request: (where it redirects to or None, what `take` made of the body)."""
        method = "POST" if data else "GET"
        try:
            async with self._session.request(
                method, target, headers=headers, data=data, allow_redirects=False
            ) as answer:
                if answer.status in (301, 302, 303, 307, 308) and "Location" in answer.headers:
                    return str(target.join(URL(answer.headers["Location"]))), None
                if answer.status in (429, 500, 502, 503, 504):
                    raise _Again(f"answered {answer.status}", answer.status, asked_wait(answer.headers))
                if not 200 <= answer.status < 300:
                    raise FetchError(url, f"answered {answer.status}", status=answer.status)
                return None, await take(self._unpacked(url, answer))
        except aiohttp.ServerTimeoutError:
            raise FetchError(url, "did not answer in time", "try again later") from None
        except aiohttp.ClientConnectorError as error:
            why = str(error.os_error)
            if "not a public address" in why:
                cure = f"if the host is yours, name it with --allow-host {target.host_subcomponent}:{target.port}"
                raise FetchError(url, f"leads to {why}", cure) from None
            raise FetchError(url, f"cannot be reached at {target.host}", "check the address and the network") from None
        except (aiohttp.ClientPayloadError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            raise _Again("broke off the connection") from None
        except (aiohttp.ClientError, ValueError) as error:
            if isinstance(error, FetchError):
                raise
            raise FetchError(url, f"answered against the rules of HTTP ({type(error).__name__})") from None

    async def _unpacked(self, url: str, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body in pieces, unpacked if it was sent compressed, and cut off at the limit."""
        packing = answer.headers.get("Content-Encoding", "identity").lower()
        if packing not in ("identity", "gzip", "x-gzip", "deflate"):
            raise FetchError(url, f"is packed as {packing}, which was not asked for", lasting=True)
        unpacker = None if packing == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: finds the header
        too_large = FetchError(url, f"is larger than {self.most_bytes / 1e6:g} MB", "use a smaller picture", True)
        size = 0
        if (answer.content_length or 0) > self.most_bytes:
            raise too_large
        try:
            async for piece in answer.content.iter_chunked(65536):
                for out in _inflated(unpacker, piece) if unpacker else [piece]:
                    if (size := size + len(out)) > self.most_bytes:
                        raise too_large
                    yield out
        except zlib.error:
            raise FetchError(url, "is packed wrongly", lasting=True) from None

    async def _permit(self, url: str, target: URL, host: Host) -> None:
        """Ask the host's robots.txt, which is read once; raises if it says no."""
        if host.rules is None:
            host.rules = asyncio.ensure_future(self._rules(target, host))
        rules = await asyncio.shield(host.rules)
        if isinstance(rules, FetchError):
            raise FetchError(url, f"{rules.reason} (asked for robots.txt)", "try again later")
        if not rules.can_fetch(str(target), AGENT):
            raise FetchError(url, f"is closed to programs by the robots.txt of {target.host}", "leave it out")

    async def _rules(self, target: URL, host: Host) -> Protego | FetchError:
        """Read a host's robots.txt; the error if it cannot be read, which forbids everything (RFC 9309, 2.3.1)."""
        try:
            text = await self._fetch(str(target.with_path("/robots.txt")), _whole)
        except FetchError as error:
            own = (target.host, target.port) in self._own
            return Protego.parse("") if own or (400 <= error.status < 500 and error.status != 429) else error
        rules = Protego.parse(text[:500_000].decode("utf-8", "replace"))  # the length that RFC 9309 asks for
        host.delay = max(host.delay, min(rules.crawl_delay(AGENT) or 0, LONGEST_WAIT))
        return rules


class _Again(Exception):
    """What may work at a second try, `wait` seconds later if the server says so."""

    def __init__(self, reason: str, status: int = 0, wait: float = 0):
        self.reason, self.status, self.wait = reason, status, wait


def _inflated(unpacker, piece: bytes) -> Iterator[bytes]:
    """Unpack a piece without ever holding more than a little of it: a bomb grows a thousandfold."""
    while piece:
        yield unpacker.decompress(piece, 65536)
        piece = unpacker.unconsumed_tail


async def _whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def fetch(url: str, allow: Iterable[str] = ()) -> bytes:
    """Fetch one address within the limits above; raises `FetchError`."""
    with Web(allow) as web:
        return web.get(url)


def content(source: str, allow: Iterable[str] = ()) -> bytes:
    """The bytes of a file, by its path or its address on the web.

    Args:
        source: A path, or an address that begins with http:// or https://.
        allow: See `Web`. Defaults to none.

    Raises:
        InputError: If there is none; a `FetchError` if the address cannot be fetched.
    """
    if source.startswith(WEB):
        return fetch(source, allow)
    try:
        return Path(source).read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {source}: check the path") from error
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror}): name a picture file") from error
