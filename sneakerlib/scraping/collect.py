"""Collect pictures: ask search services, download what they name, keep where each picture came from."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, as_completed
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sneakerlib import InputError, pictures
from sneakerlib import catalog as catalogs
from sneakerlib.runs import alone, half_written, replacing, sweep, watch
from sneakerlib.sample import loopback
from sneakerlib.scraping.licences import KINDS, attribution, kind
from sneakerlib.scraping.sources import SOURCES, Candidate
from sneakerlib.scraping.web import FetchError, Web
from sneakerlib.tables import write_csv

MOST_PIXELS = 25_000_000  # of a picture: twice a phone's, and 150 MB while a PNG of them is decoded
EXTENSIONS = {"JPEG": ".jpg", "MPO": ".jpg"}  # by content; the others are called as their format


class Collected(NamedTuple):
    """What `collect` brings home."""

    catalog: pd.DataFrame  # one row per picture in the folder, with its origin
    rejected: pd.DataFrame  # what was found and not kept: label, url, reason
    unfinished: pd.DataFrame  # searches that failed: label, query, reason; the same call goes on with them


def collect(
    terms: pd.DataFrame,
    out: str | Path,
    source: str = "openverse",
    *,
    licences: Iterable[str] = (),
    allow: Iterable[str] = (),
    service: str = "",
    progress: bool = True,
    **limits,
) -> Collected:
    """Search and download; a second call downloads nothing twice, goes on after a kill, and adds what is new.

    Args:
        terms: What to look for, from `searchterms.read`.
        out: Picture folder; gets a sub-folder per label, `catalog.csv`, `rejected.csv` and `attribution.md`. Files are
            named by their content, so that nothing is stored twice and no name comes from a server.
        source: Where to look, for terms that name none: a key of `sources.SOURCES`. Defaults to `openverse`.
        licences: Kinds of licence to keep, such as `cc0`, `by`, `by-sa`. Defaults to any, also unknown ones.
        allow: `HOST:PORT` of hosts of your own, see `web.Web`. Defaults to none.
        service: Address of the sample's service. Defaults to one that draws what is asked.
        progress: Show a bar. Defaults to True.
        **limits: Limits of `web.Web`: seconds, most_bytes, connections.

    Returns:
        The catalog, what was rejected and why, and the searches that failed.

    Raises:
        InputError: If something given is wrong, another program collects into the folder, or no picture was found.
        RuntimeError: If no search could be finished and there are no pictures.
    """
    licences, out, folder = list(licences), Path(out), terms.attrs.get("folder", ".")
    terms = terms.assign(source=terms.source.where(terms.source.ne(""), source))
    for what, given, known in (("licence", licences, KINDS), ("source", terms.source, SOURCES)):
        if unknown := sorted(set(given) - set(known)):
            raise InputError(f"there is no {what} {', '.join(unknown)}: use {', '.join(known)}")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name the folder to collect into")
    web = Web(allow, **limits)
    sources = {name: SOURCES[name](web, licences=licences, folder=folder) for name in set(terms.source)}
    for name, rows in terms.groupby("source"):
        sources[name].check(rows["query"])
    with alone(out), pictures.quietly(), ExitStack() as stack:
        sweep(out)
        if drawn := sources.get("sample"):
            asked = terms[terms.source.eq("sample")]
            drawing = loopback.service_for(out, asked["query"], int(asked.limit.max()), progress)
            drawn.address = service or stack.enter_context(drawing)
            web.allow(drawn.address.partition("//")[2])
        work = _Collection(out, web, sources, licences)
        try:
            with half_written(out) as parts, web, watch(None, int(terms.limit.sum()), "collecting", progress) as shown:
                work.run(terms, parts, shown)
        finally:
            found = work.write()
        if not work.unfinished:
            work.searched.file.unlink(missing_ok=True)  # the next call is to find what is new
    if found.catalog.empty and work.unfinished:
        raise RuntimeError(f"nothing was collected: {work.unfinished[0]['reason']}")
    if found.catalog.empty:
        why = f"all {len(found.rejected)} results were rejected, see {out / 'rejected.csv'}"
        raise InputError(f"no pictures: {why if len(found.rejected) else 'the search found none'}")
    return found


class _Notes(dict):
    """A dictionary that outlives a kill: its file grows by a line per entry, of which the last may be torn."""

    def __init__(self, file: Path):
        self.file, self.lock = file, threading.Lock()
        for line in file.read_bytes().splitlines() if file.exists() else []:
            with suppress(ValueError):  # torn, or the first, which is empty
                self.update(json.loads(line))

    def note(self, name: str, said) -> None:
        """Remember something, in one write and on a new line, whatever was torn before."""
        with self.lock, self.file.open("ab", buffering=0) as opened:
            self[name] = said
            opened.write(f"\n{json.dumps({name: said})}".encode())


class _Collection:
    """One call of `collect`: what was found so far, and what became of it."""

    def __init__(self, out: Path, web: Web, sources: dict, licences: list):
        self.out, self.web, self.sources, self.licences = out, web, sources, licences
        file = out / catalogs.COLLECTED
        self.earlier = catalogs.load(file).to_dict("records") if file.exists() else []
        # By address: what its picture is like, or why there is none for good. By search: what it found.
        self.known, self.searched = _Notes(out / ".known.jsonl"), _Notes(out / ".searched.jsonl")
        self.refused = {name: said["reason"] for name, said in self.known.items() if "reason" in said}
        self.found: list[tuple] = []  # (search term, candidate), in the order of the results: first come, first kept
        self.begun, self.asked = {}, set()  # what each download under way is called; what was asked for
        self.unfinished: list[dict] = []

    def run(self, terms: pd.DataFrame, parts: Path, shown) -> None:
        """Search, and download meanwhile what is found."""
        tired = {}
        for term in terms.itertuples():
            try:
                if term.source in tired:
                    raise tired[term.source]
                for candidate in self._results(term):
                    self.found.append((term, candidate))
                    self._begin(term, candidate, parts / f"{len(self.found)}")
            except FetchError as error:
                tired |= {term.source: error} if error.status == 429 else {}  # it has had enough of us for today
                self.unfinished.append({"label": term.label, "query": term.query, "reason": str(error)})
            self._settle([future for future in self.begun if future.done()], shown)
        shown.total = shown.n + len(self.begun)
        self._settle(as_completed(self.begun), shown)

    def _results(self, term) -> Iterator[Candidate]:
        """Candidates of one search: as noted, if a call that was cut short has finished it."""
        source, seen = self.sources[term.source], []
        key = json.dumps([term.source, term.query, int(term.limit), self.licences])
        if key in self.searched:
            yield from (Candidate(**row) for row in self.searched[key])
            return
        try:
            for candidate in source.search(term.query, int(term.limit)):
                seen.append(asdict(candidate))
                yield candidate
        except (LookupError, TypeError, AttributeError) as error:
            raise FetchError(term.source, "answered in an unknown form", "try again later, or report it") from error
        if source.lasting:
            self.searched.note(key, seen)

    def _begin(self, term, candidate: Candidate, part: Path) -> None:
        """Begin to download a candidate, unless it is not wanted, there already, or asked for."""
        name = candidate.name
        if self.licences and kind(candidate.licence) not in self.licences:
            self.refused[name] = f"licence {candidate.licence or 'unknown'} is not wanted"
        elif candidate.width * candidate.height > MOST_PIXELS:
            self.refused[name] = f"more than {MOST_PIXELS / 1e6:g} million pixels"
        elif name not in self.asked and name not in self.refused and not self._there(name):
            self.asked.add(name)
            robots = self.sources[term.source].robots
            future = self.web.start(candidate.url, part, lambda: self._keep(part, term.label, name), robots)
            self.begun[future] = name

    def _there(self, name: str) -> dict | None:
        """What is known of a picture that is in its place."""
        said = self.known.get(name, {})
        return said if "path" in said and (self.out / said["path"]).is_file() else None

    def _keep(self, part: Path, label: str, name: str) -> None:
        """Screen a downloaded file and put it into its place. Runs in a worker thread."""
        if not (content := part.read_bytes()):
            raise FetchError(name, "is empty", "try again later")
        seen, sha256 = pictures.screen(part, MOST_PIXELS), hashlib.sha256(content).hexdigest()
        path = f"{label}/{sha256[:16]}{EXTENSIONS.get(seen['format'], '.' + seen['format'].lower())}"
        (self.out / label).mkdir(exist_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        # Noted before it is in place: what is in place is never downloaded again, whenever this is killed.
        self.known.note(name, {"path": path, "sha256": sha256, **seen, "retrieved": now})
        part.replace(self.out / path)

    def _settle(self, ended: Iterable[Future], shown) -> None:
        """Note what became of downloads that have ended; any failure that is no refusal is raised."""
        for future in ended:
            name = self.begun.pop(future)
            shown.update(1)
            try:
                future.result()
            except InputError as error:
                self.refused[name] = getattr(error, "reason", str(error))
                if getattr(error, "lasting", True):
                    self.known.note(name, {"reason": self.refused[name]})

    def write(self) -> Collected:
        """Write the tables of what is there."""
        rows = {row["path"]: row for row in self.earlier if (self.out / row["path"]).is_file()}
        rejected = {}
        for term, candidate in self.found:
            name, there = candidate.name, self._there(candidate.name)
            if name in self.refused or not there:
                rejected.setdefault((term.label, name), self.refused.get(name, "not downloaded yet"))
                continue
            path = f"{term.label}/{Path(there['path']).name}"
            origin = {column: getattr(candidate, column) for column in ("page", "title", "licence", "creator")}
            row = {"label": term.label, "source_url": name, "split": term.split, **origin, **there, "path": path}
            first = rows.setdefault(path, row)["source_url"]
            if first != name:
                rejected.setdefault((term.label, name), f"the same picture as {first}")
            elif not (self.out / path).is_file():  # under a second label too: both keep it, and notebook 02 judges
                with replacing(self.out / path) as beside:
                    shutil.copyfile(self.out / there["path"], beside)
        refused = pd.DataFrame([(*key, reason) for key, reason in rejected.items()], columns=["label", "url", "reason"])
        write_csv(self.out / "rejected.csv", refused)
        table = catalogs.blank(list(rows.values()), self.out) if rows else pd.DataFrame()
        if rows:
            catalogs.save(table, self.out / catalogs.COLLECTED)
            with replacing(self.out / "attribution.md") as beside:
                beside.write_text(attribution(table), encoding="utf-8")
        return Collected(table, refused, pd.DataFrame(self.unfinished, columns=["label", "query", "reason"]))
