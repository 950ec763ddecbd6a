"""Where to look for pictures: one small class per search service, all answering with candidates."""

import html
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

from sneakerlib import InputError
from sneakerlib.scraping import browser
from sneakerlib.scraping.addresses import WEB, FetchError
from sneakerlib.scraping.licences import licence
from sneakerlib.scraping.web import Web

OPENVERSE_KEY = ("OPENVERSE_CLIENT_ID", "OPENVERSE_CLIENT_SECRET")  # environment variables


@dataclass(frozen=True)
class Candidate:
    """A picture that a search names: nothing of it is downloaded yet, and nothing of it can be trusted.

    Attributes:
        url: The picture's own address.
        page: The address of the page that shows it.
        title: What its page calls it.
        licence: Such as `cc0`, `pdm` (public domain) or `by-sa 4.0`; empty if it is not known.
        creator: Who made it; empty if it is not known.
        width: In pixels, as the service says; 0 if it does not.
        height: In pixels, as the service says; 0 if it does not.
        key: What to call it in tables, where its address changes from day to day. Defaults to the address.
    """

    url: str
    page: str = ""
    title: str = ""
    licence: str = ""
    creator: str = ""
    width: int = 0
    height: int = 0
    key: str = ""

    @property
    def name(self) -> str:
        """What identifies the picture."""
        return self.key or self.url


class Source:
    """A search service.

    Args:
        web: What fetches.
        licences: Kinds of licence that are wanted, for services that can be asked for them. Defaults to any.
        folder: What file names in queries start from. Defaults to the working folder.
        address: Of the service. Defaults to the public one.
        pause: Seconds between two requests to it. Defaults to what its terms ask for.
    """

    address, pause = "", 0.0
    robots = True  # whether robots.txt is asked before a picture is fetched; an API hands its addresses out itself
    lasting = True  # whether an address still holds tomorrow

    def __init__(self, web: Web, *, licences: Iterable[str] = (), folder: str | Path = ".", address="", pause=None):
        self.web, self.licences, self.folder = web, list(licences), Path(folder)
        self.address = (address or self.address).rstrip("/")
        self.pause = self.pause if pause is None else pause
        if self.address and self.pause:
            web.pace(self.address, self.pause)

    @classmethod
    def check(cls, queries: Iterable[str], folder: Path) -> None:
        """Raise an InputError if something is missing that these queries need; nothing is asked yet."""

    def search(self, query: str, limit: int) -> Iterator[Candidate]:
        """Look for pictures; yields `limit` candidates at the most."""
        raise NotImplementedError

    def _json(self, path: str, query: dict | None = None, **options) -> dict:
        """Ask the service for one page of its answer."""
        url = self.address + path + (f"?{urlencode(query)}" if query else "")
        try:
            return json.loads(self.web.get(url, **options))
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise FetchError(url, "did not answer with JSON", "try again later") from None

    def _results(self, path: str, query: dict, limit: int, **options) -> Iterator[dict]:
        """Results of a service that numbers its pages and says how many there are: `limit` at the most."""
        page, found = 1, 0
        while found < limit:
            answer = self._json(path, query | {"page": page}, **options)
            wanted = answer["results"][: limit - found]
            found += len(wanted)
            yield from wanted
            if page >= answer["page_count"] or not wanted:
                return
            page += 1


class Openverse(Source):
    """openverse.org: 800 million openly licensed pictures.

    Without a key 20 results a page, 240 a query, 20 requests a minute and 200 a day; with OPENVERSE_CLIENT_ID and
    OPENVERSE_CLIENT_SECRET in the environment (https://api.openverse.org/v1/#tag/auth) 100 a minute and 10,000 a day.
    """

    address, pause, robots = "https://api.openverse.org", 3.0, False
    page_size, depth = 20, 240
    pause_with_key, page_size_with_key = 0.6, 50

    def search(self, query: str, limit: int) -> Iterator[Candidate]:
        """See `Source.search`."""
        headers, size = self._headers(), self.page_size_with_key if self._key() else self.page_size
        limit = limit if self._key() else min(limit, self.depth)
        wanted = {"license": ",".join(self.licences)} if self.licences else {}
        for result in self._results("/v1/images/", {"q": query, "page_size": size, **wanted}, limit, headers=headers):
            yield Candidate(
                url=_text(result["url"]),
                page=_text(result.get("foreign_landing_url")),
                title=_text(result.get("title")),
                licence=licence(f"{_text(result.get('license'))} {_text(result.get('license_version'))}"),
                creator=_text(result.get("creator")),
                width=int(result.get("width") or 0),
                height=int(result.get("height") or 0),
            )

    def _key(self) -> list[str]:
        values = [os.environ.get(name, "") for name in OPENVERSE_KEY]
        return values if all(values) else []

    def _headers(self) -> dict:
        """The key buys a token for some hours; neither is ever written to a file."""
        if not self._key():
            return {}
        if not hasattr(self, "_token"):
            self.web.pace(self.address, min(self.pause, self.pause_with_key))
            form = dict(zip(("client_id", "client_secret"), self._key(), strict=True))
            form["grant_type"] = "client_credentials"
            self._token = self._json("/v1/auth_tokens/token/", data=form)["access_token"]
        return {"Authorization": f"Bearer {self._token}"}


class Commons(Source):
    """commons.wikimedia.org: requests one after another, a User-Agent with a contact, and the thumbnails it offers."""

    address, pause, robots = "https://commons.wikimedia.org", 1.0, False
    uploads, width = "https://upload.wikimedia.org", 960  # where pictures are; one of the fixed thumbnail widths

    def __init__(self, web: Web, **options):
        super().__init__(web, **options)
        web.pace(self.uploads, 0.1, per_host=2)  # Wikimedia's robot policy for media

    def search(self, query: str, limit: int) -> Iterator[Candidate]:
        """See `Source.search`."""
        asked = {"action": "query", "format": "json", "formatversion": 2, "maxlag": 5, "generator": "search"}
        asked |= {"gsrsearch": f"filetype:bitmap {query}", "gsrnamespace": 6, "gsrlimit": min(limit, 50)}
        asked |= {"prop": "imageinfo", "iiprop": "url|size|extmetadata", "iiurlwidth": self.width}
        asked |= {"iiextmetadatafilter": "Artist|License|LicenseShortName"}
        found, onward = 0, {}
        while True:
            answer = self._json("/w/api.php", asked | onward)
            if "error" in answer:
                raise FetchError(
                    self.address, f"answered: {_text(answer['error'].get('info'))[:80]}", "try again later"
                )
            pages = sorted(answer.get("query", {}).get("pages", []), key=lambda page: page.get("index", 0))
            for page in [page for page in pages if page.get("imageinfo")][: limit - found]:
                found += 1
                yield self._candidate(page["title"], page["imageinfo"][0])
            onward = answer.get("continue", {})
            if not onward or found >= limit:
                return

    def _candidate(self, title: str, info: dict) -> Candidate:
        said = {name: _text(field.get("value")) for name, field in info.get("extmetadata", {}).items()}
        shown = "thumb" if info.get("thumburl") else ""
        return Candidate(
            url=_text(info.get("thumburl") or info["url"]),
            page=_text(info.get("descriptionurl")),
            title=title.removeprefix("File:").rpartition(".")[0],
            licence=licence(said.get("License") or said.get("LicenseShortName", "")),
            creator=_plain(said.get("Artist", "")),
            width=int(info.get(f"{shown}width") or 0),
            height=int(info.get(f"{shown}height") or 0),
        )


class DuckDuckGo(Source):
    """duckduckgo.com, through ddgs: finds most, says nothing about licences, and refuses now and then."""

    pause = 2.0

    @classmethod
    def check(cls, queries: Iterable[str], folder: Path) -> None:
        """See `Source.check`."""
        if not find_spec("ddgs"):
            raise InputError("the source duckduckgo needs ddgs: pip install 'sneakerlib[scrape]'")

    def search(self, query: str, limit: int) -> Iterator[Candidate]:
        """See `Source.search`."""
        from ddgs import DDGS
        from ddgs.exceptions import DDGSException, RatelimitException

        page, seen = 1, set()
        while len(seen) < limit:
            try:
                results = DDGS(timeout=10).images(query, page=page, max_results=None, backend="duckduckgo")
            except DDGSException as error:
                if "No results" not in str(error):
                    status = 429 if isinstance(error, RatelimitException) else 0
                    reason = f"refused ({str(error)[:80]})"
                    raise FetchError("duckduckgo.com", reason, "try again later", status=status) from None
                results = []
            fresh = [result for result in results if result.get("image") and result["image"] not in seen]
            for result in fresh[: limit - len(seen)]:
                seen.add(result["image"])
                width, height = int(result.get("width") or 0), int(result.get("height") or 0)
                yield Candidate(
                    result["image"], _text(result.get("url")), _text(result.get("title")), "", "", width, height
                )
            if not fresh:
                return
            page += 1
            time.sleep(self.pause)


class Page(Source):
    """Any page that shows pictures, more of them when it is scrolled: the query is its address. Needs Chromium."""

    pause = 1.0

    @classmethod
    def check(cls, queries: Iterable[str], folder: Path) -> None:
        """See `Source.check`."""
        if wrong := [query for query in queries if not query.startswith(WEB)]:
            raise InputError(f"{wrong[0]!r} is no address: the query of source page is the address of a page")
        browser.installed()

    def search(self, query: str, limit: int) -> Iterator[Candidate]:
        """See `Source.search`."""
        # Is it there, open to programs, and on a public host, redirects included? The browser itself would not ask.
        self.web.get(query, robots=True)
        for url, page, title, width, height in browser.pictures(query, limit, self.pause):
            yield Candidate(url, page, title, width=width, height=height)


class Urls(Source):
    """Addresses of your own: the query is an address, or a file with one address per line."""

    @classmethod
    def check(cls, queries: Iterable[str], folder: Path) -> None:
        """See `Source.check`."""
        for query in queries:
            if not query.startswith(WEB) and not (folder / query).is_file():
                cure = "the query of source urls is an address, or a file of them"
                raise InputError(f"there is no file {folder / query}: {cure}")

    def search(self, query: str, limit: int) -> Iterator[Candidate]:
        """See `Source.search`."""
        file = self.folder / query
        lines = [query] if query.startswith(WEB) else file.read_text(encoding="utf-8-sig").splitlines()
        wanted = dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#"))
        yield from (Candidate(line) for line in list(wanted)[:limit])


class Sample(Source):
    """The embedded sample's own service (see `loopback.search_service`), whose port differs from run to run."""

    robots, lasting = False, False

    def search(self, query: str, limit: int) -> Iterator[Candidate]:
        """See `Source.search`."""
        for result in self._results("/search", {"q": query}, limit):
            yield Candidate(
                url=result["url"],
                title=result["title"],
                licence=licence(result["licence"]),
                creator=result["creator"],
                key=result["id"],
            )


SOURCES = {
    "openverse": Openverse,
    "commons": Commons,
    "duckduckgo": DuckDuckGo,
    "page": Page,
    "urls": Urls,
    "sample": Sample,
}


def _text(value) -> str:
    return "" if value is None else " ".join(str(value).split())


def _plain(markup: str) -> str:
    return _text(html.unescape(re.sub(r"<[^>]*>", " ", markup)))
