"""Where to look for pictures: one small class per search service, all answering with candidates."""

import html
import itertools
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

from sneakerlib import InputError
from sneakerlib.scraping import browser
from sneakerlib.scraping.licences import licence
from sneakerlib.scraping.web import WEB, FetchError, Web

OPENVERSE_KEY = ("OPENVERSE_CLIENT_ID", "OPENVERSE_CLIENT_SECRET")  # environment variables


@dataclass
class Candidate:
    """A picture that a search names: nothing of it is downloaded yet, and nothing of it can be trusted."""

    url: str  # the picture's own address
    page: str = ""  # the address of the page that shows it
    title: str = ""
    licence: str = ""  # such as `cc0`, `pdm` (public domain) or `by-sa 4.0`; empty if it is not known
    creator: str = ""  # empty if it is not known
    width: int = 0  # in pixels, as the service says; 0 if it does not
    height: int = 0
    name: str = ""  # what to call it in tables, where its address changes from day to day: else the address

    def __post_init__(self):
        """Bring into one form what services say, or leave out."""
        for field, said in asdict(self).items():
            text = "" if said is None else " ".join(str(said).split())
            setattr(self, field, text if field not in ("width", "height") else int(text) if text.isdecimal() else 0)
        self.licence, self.name = licence(self.licence), self.name or self.url


class Source:
    """A search service: where it is, how often it may be asked, and how its answers become candidates.

    It may be asked for the `licences` that are wanted (none: any); file names in queries start from `folder`.
    """

    address, pause = "", 0.0  # where it is; seconds between two requests to it, as its terms ask for
    robots = True  # whether robots.txt is asked before a picture is fetched; an API hands its addresses out itself
    lasting = True  # whether an address still holds tomorrow

    def __init__(self, web: Web, *, licences: Iterable[str] = (), folder: str | Path = "."):
        self.web, self.licences, self.folder = web, list(licences), Path(folder)
        if self.address and self.pause:
            web.pace(self.address, self.pause)

    def check(self, queries: Iterable[str]) -> None:
        """Raise an InputError if something is missing that these queries need; nothing is asked yet."""

    def search(self, query: str, limit: int) -> Iterator[Candidate]:
        """Look for pictures; yields `limit` candidates at the most, and asks for no more than they need."""
        return itertools.islice(self._found(query), limit)

    def _json(self, path: str, query: dict, **options) -> dict:
        """Ask the service for one page of its answer."""
        url = f"{self.address}{path}?{urlencode(query)}"
        try:
            return json.loads(self.web.get(url, **options))
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise FetchError(url, "did not answer with JSON", "try again later") from None

    def _results(self, path: str, query: dict, **options) -> Iterator[dict]:
        """Results of a service that numbers its pages and says how many there are."""
        for page in itertools.count(1):
            answer = self._json(path, query | {"page": page}, **options)
            yield from answer["results"]
            if page >= answer["page_count"] or not answer["results"]:
                return


class Openverse(Source):
    """openverse.org: 800 million openly licensed pictures.

    Without a key 20 results a page, 240 a query, 20 requests a minute and 200 a day; with OPENVERSE_CLIENT_ID and
    OPENVERSE_CLIENT_SECRET in the environment (https://api.openverse.org/v1/#tag/auth) 100 a minute and 10,000 a day.
    """

    address, pause, robots = "https://api.openverse.org", 3.0, False
    pause_with_key, token = 0.6, ""

    def _found(self, query: str) -> Iterator[Candidate]:
        key = [os.environ.get(name, "") for name in OPENVERSE_KEY]
        size, depth, headers = (50, None, self._authorised(key)) if all(key) else (20, 240, {})
        wanted = {"license": ",".join(self.licences)} if self.licences else {}
        asked = {"q": query, "page_size": size, **wanted}
        for result in itertools.islice(self._results("/v1/images/", asked, headers=headers), depth):
            terms = " ".join(filter(None, [result.get("license"), result.get("license_version")]))
            about = {name: result.get(name) for name in ("title", "creator", "width", "height")}
            yield Candidate(result["url"], result.get("foreign_landing_url"), licence=terms, **about)

    def _authorised(self, key: list[str]) -> dict:
        """The key buys a token for some hours; neither is ever written to a file."""
        if not self.token:
            self.web.pace(self.address, min(self.pause, self.pause_with_key))
            form = {"client_id": key[0], "client_secret": key[1], "grant_type": "client_credentials"}
            self.token = self._json("/v1/auth_tokens/token/", {}, data=form)["access_token"]
        return {"Authorization": f"Bearer {self.token}"}


class Commons(Source):
    """commons.wikimedia.org: requests one after another, a User-Agent with a contact, and the thumbnails it offers."""

    address, pause, robots = "https://commons.wikimedia.org", 1.0, False
    uploads, width = "https://upload.wikimedia.org", 960  # where pictures are; one of the fixed thumbnail widths

    def __init__(self, web: Web, **options):
        super().__init__(web, **options)
        web.pace(self.uploads, 0.1, per_host=2)  # Wikimedia's robot policy for media

    def _found(self, query: str) -> Iterator[Candidate]:
        asked = {"action": "query", "format": "json", "formatversion": 2, "maxlag": 5, "generator": "search"}
        asked |= {"gsrsearch": f"filetype:bitmap {query}", "gsrnamespace": 6, "gsrlimit": 50}
        asked |= {"prop": "imageinfo", "iiprop": "url|size|extmetadata", "iiurlwidth": self.width}
        asked |= {"iiextmetadatafilter": "Artist|License|LicenseShortName"}
        onward = {}
        while onward is not None:
            answer = self._json("/w/api.php", asked | onward)
            if error := answer.get("error"):
                raise FetchError(self.address, f"answered: {str(error.get('info'))[:80]}", "try again later")
            pages = answer.get("query", {}).get("pages", [])
            for page in sorted(pages, key=lambda page: page.get("index", 0)):
                if page.get("imageinfo"):
                    yield self._candidate(page["title"].removeprefix("File:").rpartition(".")[0], page["imageinfo"][0])
            onward = answer.get("continue")

    def _candidate(self, title: str, info: dict) -> Candidate:
        said = {name: str(field.get("value") or "") for name, field in info.get("extmetadata", {}).items()}
        terms = said.get("License") or said.get("LicenseShortName")
        creator = html.unescape(re.sub(r"<[^>]*>", " ", said.get("Artist", "")))
        shown = "thumb" if info.get("thumburl") else ""
        size = info.get(f"{shown}width"), info.get(f"{shown}height")
        return Candidate(info[f"{shown}url"], info.get("descriptionurl"), title, terms, creator, *size)


class DuckDuckGo(Source):
    """duckduckgo.com, through ddgs: finds most, says nothing about licences, and refuses now and then."""

    pause = 2.0

    def check(self, queries: Iterable[str]) -> None:
        """See `Source.check`."""
        if not find_spec("ddgs"):
            raise InputError("the source duckduckgo needs ddgs: pip install 'sneakerlib[scrape]'")

    def _found(self, query: str) -> Iterator[Candidate]:
        from ddgs import DDGS
        from ddgs.exceptions import DDGSException, RatelimitException

        seen = set()
        for page in itertools.count(1):
            try:
                results = DDGS(timeout=10).images(query, page=page, max_results=None, backend="duckduckgo")
            except DDGSException as error:
                if "No results" in str(error):
                    return
                status = 429 if isinstance(error, RatelimitException) else 0
                reason = f"refused ({str(error)[:80]})"
                raise FetchError("duckduckgo.com", reason, "try again later", status=status) from None
            fresh = {one["image"]: one for one in results if one.get("image") and one["image"] not in seen}
            for url, one in fresh.items():
                yield Candidate(url, one.get("url"), one.get("title"), "", "", one.get("width"), one.get("height"))
            if not fresh:
                return
            seen |= set(fresh)
            time.sleep(self.pause)


class Page(Source):
    """Any page that shows pictures, more of them when it is scrolled: the query is its address. Needs Chromium."""

    pause = 1.0

    def check(self, queries: Iterable[str]) -> None:
        """See `Source.check`."""
        if wrong := [query for query in queries if not query.startswith(WEB)]:
            raise InputError(f"{wrong[0]!r} is no address: the query of source page is the address of a page")
        browser.installed()

    def _found(self, query: str) -> Iterator[Candidate]:
        # Is it there, open to programs, and on a public host, redirects included? The browser itself would not ask.
        self.web.get(query, robots=True)
        for url, page, title, width, height in browser.pictures(query, self.pause):
            yield Candidate(url, page, title, width=width, height=height)


class Urls(Source):
    """Addresses of your own: the query is an address, or a file with one address per line."""

    def check(self, queries: Iterable[str]) -> None:
        """See `Source.check`."""
        for query in queries:
            if not query.startswith(WEB) and not (self.folder / query).is_file():
                cure = "the query of source urls is an address, or a file of them"
                raise InputError(f"there is no file {self.folder / query}: {cure}")

    def _found(self, query: str) -> Iterator[Candidate]:
        file = self.folder / query
        lines = [query] if query.startswith(WEB) else file.read_text("utf-8-sig", "replace").splitlines()
        wanted = dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#"))
        return map(Candidate, wanted)


class Sample(Source):
    """The embedded sample's own service (see `loopback.search_service`), whose port differs from run to run."""

    robots, lasting = False, False

    def _found(self, query: str) -> Iterator[Candidate]:
        for result in self._results("/search", {"q": query}):
            about = {field: result[field] for field in ("title", "licence", "creator")}
            yield Candidate(result["url"], **about, name=result["id"])


SOURCES = {service.__name__.lower(): service for service in (Openverse, Commons, DuckDuckGo, Page, Urls, Sample)}
