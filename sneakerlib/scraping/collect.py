"""Collect pictures: ask search services, download what they name, keep where each picture came from."""

import hashlib
import json
import queue
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sneakerlib import InputError, pictures
from sneakerlib import catalog as catalogs
from sneakerlib.runs import bar, half_written, replacing, sweep
from sneakerlib.sample import loopback
from sneakerlib.scraping.addresses import FetchError
from sneakerlib.scraping.journal import Journal
from sneakerlib.scraping.licences import KINDS, attribution, kind
from sneakerlib.scraping.sources import SOURCES, Candidate
from sneakerlib.scraping.web import Web

# Width times height of a picture: twice a phone's twelve megapixels, and 150 MB while a PNG of it is decoded.
MOST_PIXELS = 25_000_000
EXTENSIONS = {"JPEG": ".jpg", "MPO": ".jpg"}  # by content; the others are called as their format
UNKNOWN_FORM = (LookupError, TypeError, AttributeError, ValueError)  # what an answer of another form leads to


class Collected(NamedTuple):
    """What `collect` brings home.

    Attributes:
        catalog: One row per picture in the folder, with its origin.
        rejected: What was found and not kept: label, url, reason.
        unfinished: Searches that failed: label, query, reason. The same call goes on with them.
    """

    catalog: pd.DataFrame
    rejected: pd.DataFrame
    unfinished: pd.DataFrame


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
        out: Picture folder; gets one sub-folder per label, `catalog.csv`, `rejected.csv` and `attribution.md`. Files
            are named by their content, so that nothing is stored twice and no name comes from a server.
        source: Where to look, for terms that name none: a key of `sources.SOURCES`. Defaults to `openverse`.
        licences: Kinds of licence to keep, such as `cc0`, `by`, `by-sa`. Defaults to any, also unknown ones.
        allow: `HOST:PORT` of hosts of your own, see `web.Web`. Defaults to none.
        service: Address of the sample's service, for the source `sample`. Defaults to one that draws what is asked.
        progress: Show a bar. Defaults to True.
        **limits: Limits of `web.Web`: seconds, most_bytes, connections, per_host, delay.

    Returns:
        The catalog, what was rejected and why, and the searches that failed.

    Raises:
        InputError: If something given is wrong, or no picture was found.
        RuntimeError: If no search could be finished and there are no pictures.
    """
    licences = list(licences)
    if unknown := [name for name in licences if name not in KINDS]:
        raise InputError(f"there is no licence {', '.join(unknown)}: use {', '.join(KINDS)}")
    terms = terms.assign(source=terms.source.where(terms.source.ne(""), source))
    if unknown := sorted(set(terms.source) - set(SOURCES)):
        raise InputError(f"there is no source {', '.join(unknown)}: use {', '.join(SOURCES)}")
    out, folder = Path(out), Path(terms.attrs.get("folder", "."))
    for name, rows in terms.groupby("source"):
        SOURCES[name].check(rows["query"], folder)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name the folder to collect into")
    earlier = catalogs.load(out / catalogs.COLLECTED) if (out / catalogs.COLLECTED).exists() else None
    web = Web(allow, **limits)
    work = None
    try:
        with pictures.quietly(), ExitStack() as stack:
            drawn = terms[terms.source.eq("sample")]
            if len(drawn):
                asked = (out, drawn["query"], int(drawn.limit.max()), progress)
                service = service or stack.enter_context(loopback.service_for(*asked))
                web.allow(service.partition("//")[2])
            out.mkdir(parents=True, exist_ok=True)
            sweep(out)
            parts = stack.enter_context(half_written(out))
            stack.enter_context(web)
            options = {"licences": licences, "folder": folder}
            places = {name: service if name == "sample" else "" for name in set(terms.source)}
            sources = {name: SOURCES[name](web, address=place, **options) for name, place in places.items()}
            work = _Collection(out, parts, web, sources, licences, earlier)
            work.run(terms, stack.enter_context(bar(int(terms.limit.sum()), "collecting", progress)))
    except KeyboardInterrupt:
        if work:
            work.write()
        raise
    return work.finish()


class _Collection:
    """One call of `collect`: what was found so far, and what became of it."""

    def __init__(self, out, parts, web, sources, licences, earlier):
        self.out, self.parts, self.web, self.sources, self.licences = out, parts, web, sources, licences
        self.earlier = earlier
        self.journal = Journal(out / ".collected.jsonl")
        self.found: list[tuple[object, Candidate]] = []  # in the order of terms and results: first come, first kept
        self.begun: set[str] = set()
        self.failed: dict[str, str] = {}  # reasons that need not hold at the next call
        self.unfinished: list[dict] = []
        self.arrived = queue.SimpleQueue()

    def run(self, terms: pd.DataFrame, shown) -> None:
        """Search, and download meanwhile what is found."""
        tired = {}
        for term in terms.itertuples():
            number = 0
            try:
                if term.source in tired:
                    raise tired[term.source]
                for candidate in self._results(term):
                    number += 1
                    self._begin(term, candidate, shown)
                    self._settle(block=False)
            except FetchError as error:
                tired |= {term.source: error} if error.status == 429 else {}  # it has had enough of us for today
                self.unfinished.append({"label": term.label, "query": term.query, "reason": str(error)})
            shown.total += number - term.limit
        self._settle(block=True)

    def _results(self, term):
        """Candidates of one search: from the journal, if a call that was cut short has finished it."""
        source = self.sources[term.source]
        key = json.dumps([term.source, term.query, int(term.limit), self.licences])
        if key in self.journal.searches:
            yield from (Candidate(**row) for row in self.journal.searches[key])
            return
        seen = []
        try:
            for candidate in source.search(term.query, int(term.limit)):
                seen.append(asdict(candidate))
                yield candidate
        except UNKNOWN_FORM as error:
            if isinstance(error, InputError):
                raise
            raise FetchError(term.source, "answered in an unknown form", "try again later, or report it") from error
        if source.lasting:
            self.journal.add(search=key, found=seen)

    def _begin(self, term, candidate: Candidate, shown) -> None:
        self.found.append((term, candidate))
        name, done = candidate.name, lambda: shown.update(1)
        kept = self.journal.kept.get(name)
        if self.licences and kind(candidate.licence) not in self.licences:
            self.failed[name] = f"licence {candidate.licence or 'unknown'} is not wanted"
        elif candidate.width * candidate.height > MOST_PIXELS:
            self.failed[name] = f"more than {MOST_PIXELS / 1e6:g} million pixels"
        elif not (
            name in self.begun
            or name in self.failed
            or name in self.journal.refused
            or (kept and (self.out / kept["label"] / kept["file"]).is_file())
        ):
            self.begun.add(name)
            part = self.parts / str(len(self.found))
            robots = self.sources[term.source].robots
            future = self.web.start(candidate.url, part, lambda: self._keep(part, term.label, name), robots)
            future.add_done_callback(lambda future: (self.arrived.put((name, future)), done()))
            return
        done()

    def _settle(self, block: bool) -> None:
        """Note what became of downloads that have ended; any failure that is no refusal is raised."""
        while self.begun:
            try:
                name, future = self.arrived.get(block)
            except queue.Empty:
                return
            self.begun.discard(name)
            try:
                future.result()
            except InputError as error:
                reason = getattr(error, "reason", str(error))
                self.failed[name] = reason
                if getattr(error, "lasting", True):
                    self.journal.add(refused=name, reason=reason)

    def _keep(self, part: Path, label: str, name: str) -> None:
        """Screen a downloaded file and put it into its place. Runs in a worker thread."""
        if not part.stat().st_size:
            raise FetchError(name, "is empty", "try again later")
        seen = pictures.screen(part, MOST_PIXELS)
        with part.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        file = sha256[:16] + EXTENSIONS.get(seen["format"], f".{seen['format'].lower()}")
        (self.out / label).mkdir(exist_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        # Noted before it is in place: what is in place is never downloaded again, whenever this is killed.
        self.journal.add(kept=name, label=label, file=file, sha256=sha256, **seen, retrieved=now)
        part.replace(self.out / label / file)

    def write(self) -> Collected:
        """Write the tables of what is there."""
        rows, rejected = {}, {}
        if self.earlier is not None:
            kept = self.earlier[[(self.out / path).is_file() for path in self.earlier.path]]
            rows = {row["path"]: row for row in kept.to_dict("records")}
        for term, candidate in self.found:
            row, reason = self._row(term, candidate, rows)
            if reason:
                rejected.setdefault((term.label, candidate.name), reason)
            else:
                rows.setdefault(row["path"], row)
        refused = pd.DataFrame([(*key, reason) for key, reason in rejected.items()], columns=["label", "url", "reason"])
        with replacing(self.out / "rejected.csv") as beside:
            refused.to_csv(beside, index=False, lineterminator="\n")
        unfinished = pd.DataFrame(self.unfinished, columns=["label", "query", "reason"])
        if not rows:
            return Collected(pd.DataFrame(), refused, unfinished)
        table = catalogs.blank(list(rows.values()), self.out)
        catalogs.save(table, self.out / catalogs.COLLECTED)
        with replacing(self.out / "attribution.md") as beside:
            beside.write_text(attribution(table), encoding="utf-8")
        return Collected(table, refused, unfinished)

    def _row(self, term, candidate: Candidate, rows: dict) -> tuple[dict, str]:
        """The catalog row of a candidate, or why there is none."""
        name = candidate.name
        kept = self.journal.kept.get(name)
        if kept is None or name in self.failed:
            return {}, self.failed.get(name) or self.journal.refused.get(name, "not downloaded yet")
        path = f"{term.label}/{kept['file']}"
        if path in rows:
            first = rows[path]["source_url"]
            return rows[path], "" if first == name else f"the same picture as {first}"
        if not (self.out / path).is_file():  # found under a second label too: both keep it, and notebook 02 judges
            with replacing(self.out / path) as beside:
                shutil.copyfile(self.out / kept["label"] / kept["file"], beside)
        facts = {column: kept[column] for column in ("sha256", "width", "height", "mode", "format")}
        origin = {column: getattr(candidate, column) for column in ("page", "title", "licence", "creator")}
        row = {"path": path, "label": term.label, **facts, "source_url": name, **origin, "split": term.split}
        return row | {"retrieved": kept["retrieved"]}, ""

    def finish(self) -> Collected:
        """Write the tables and close the journal; raises if there is nothing to write."""
        result = self.write()
        if self.unfinished and not len(result.catalog):
            raise RuntimeError(f"nothing was collected: {self.unfinished[0]['reason']}")
        if not self.unfinished:
            self.journal.close()
        if not len(result.catalog):
            why = f"all {len(result.rejected)} results were rejected, see {self.out / 'rejected.csv'}"
            raise InputError(f"no pictures: {why if len(result.rejected) else 'the search found none'}")
        return result
