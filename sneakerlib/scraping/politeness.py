"""How to ask a server without being a burden: one's turn, one's name, and how long it wants us to wait."""

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from sneakerlib import __version__

AGENT = "sneakerlib"  # the name that robots.txt may address
CONTACT = "SNEAKERLIB_CONTACT"  # environment variable: an address that a server's owner can write to
LONGEST_WAIT = 60  # seconds that a server may ask us to wait before we give up for this run
SLOWER = (0.1, 5)  # seconds between two requests to a host that was too busy: at least, and doubled up to


class Host:
    """Whose turn it is at one host.

    Args:
        per_host: Requests at the same time.
        delay: Seconds between the starts of two.
    """

    def __init__(self, per_host: int, delay: float):
        self.free, self.delay, self.next, self.rules = asyncio.Semaphore(per_host), delay, 0.0, None

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
    """Seconds that Retry-After asks for, given there as a number or as a date; 0 if there is none.

    >>> asked_wait({"Retry-After": "120"})
    120.0
    """
    text = headers.get("Retry-After", "")
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
