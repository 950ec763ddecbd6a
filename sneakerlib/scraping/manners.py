"""Whom one may ask, and how: public addresses only, one's turn, one's name, and the wait that a server asks for."""

import asyncio
import contextlib
import ipaddress
import os
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from yarl import URL

from sneakerlib import InputError, __version__

WEB = ("http://", "https://")  # what an address begins with
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last four bytes
AGENT = "sneakerlib"  # the name that robots.txt may address
CONTACT = "SNEAKERLIB_CONTACT"  # environment variable: an address that a server's owner can write to
LONGEST_WAIT = 60  # seconds that a server may ask us to wait before we give up for this run
SLOWER = (0.1, 5)  # seconds between two requests to a host that was too busy: at least, and doubled up to


class FetchError(InputError):
    """Something could not be fetched: the reason in a few words, and the status that the server answered, if it did.

    It is `lasting` where the content is to blame: trying again later is of no use. Unless `wait` is None, a second try
    after so many seconds may help.
    """

    def __init__(self, url: str, reason: str, cure="check the address", lasting=False, status=0, wait=None):
        reason += f" and asks to wait {wait:.0f} s" if wait and wait > LONGEST_WAIT else ""
        super().__init__(f"{url} {reason}: {cure}")
        self.reason, self.lasting, self.status, self.wait = reason, lasting, status, wait


def parse(url: str, address: str) -> URL:
    """The parsed address, if it is one of the web; `url` is what the user knows it by."""
    with contextlib.suppress(ValueError):
        if address.lower().startswith(WEB) and (target := URL(address)).host:
            return target
    leads = "is" if url == address else f"leads to {address[:80]}, which is"
    raise FetchError(url, f"{leads} not an http address", lasting=True)


def place(target: URL) -> tuple[str, int]:
    """Name and port: whoever answers there is one server, to be asked politely."""
    return target.host, target.port


def named(name: str) -> tuple[str, int]:
    """The place that is written HOST:PORT."""
    if not (parts := re.fullmatch(r"\[?([^\s/\[\]]+?)]?:(\d+)", name.lower())):
        raise InputError(f"--allow-host {name}: write HOST:PORT, for example 127.0.0.1:8000")
    return parts[1], int(parts[2])


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also when IPv6 wraps an IPv4 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if ip in NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return is_public(str(inner)) if inner else ip.is_global and not ip.is_multicast


class Host:
    """Whose turn it is at one host: `per_host` requests at a time, `delay` seconds between the starts of two."""

    def __init__(self, per_host: int, delay: float):
        self.free, self.delay, self.next = asyncio.Semaphore(per_host), delay, 0.0
        self.reading, self.rules = asyncio.Lock(), None  # its robots.txt, once somebody has read it

    @contextlib.asynccontextmanager
    async def turn(self):
        """Wait until it is one's turn, and keep the place while the block runs."""
        async with self.free:
            now = time.monotonic()
            wait, self.next = self.next - now, max(now, self.next) + self.delay
            if wait > 0:
                await asyncio.sleep(wait)
            yield

    def slow_down(self, wait: float) -> None:
        """Let everybody wait some seconds, and ask more slowly from then on."""
        self.next = max(self.next, time.monotonic() + wait)
        self.delay = min(max(2 * self.delay, SLOWER[0]), SLOWER[1])


def user_agent() -> str:
    """Who is asking, and where its owner can be reached, as Wikimedia's User-Agent policy wants it."""
    contact = os.environ.get(CONTACT, "")
    return f"{AGENT}/{__version__} (+https://github.com/sneakerlib/sneakerlib{contact and '; '}{contact})"


def asked_wait(headers: Mapping[str, str]) -> float:
    """Seconds that Retry-After asks for, given there as a number or as a date; 0 if there is none."""
    text = headers.get("Retry-After", "0").strip()
    with contextlib.suppress(ValueError, TypeError):
        return float(text) if text.isdecimal() else max(0, parsedate_to_datetime(text).timestamp() - time.time())
    return 0
