"""Collect pictures: ask search services, download what they name, keep where each picture came from."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, as_completed
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sneakerlib import InputError, pictures
from sneakerlib import catalog as catalogs
from sneakerlib.runs import alone, half_written, replacing, sweep, watch
from sneakerlib.sample import loopback
from sneakerlib.scraping.journal import Journal
from sneakerlib.scraping.licences import KINDS, attribution, kind
from sneakerlib.scraping.sources import SOURCES, Candidate
from sneakerlib.scraping.web import FetchError, Web

# Width times height of a picture: twice a phone's twelve megapixels, and 150 MB while a PNG of it is decoded.
MOST_PIXELS = 25_000_000
EXTENSIONS = {"JPEG": ".jpg", "MPO": ".jpg"}  # by content; the others are called as their format
UNKNOWN_FORM = (LookupError, TypeError, AttributeError, ValueError)  # what an answer of another form leads to


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
        out: Picture folder; gets one sub-folder per label, `catalog.csv`, `rejected.csv` and `attribution.md`. Files
            are named by their content, so that nothing is stored twice and no name comes from a server.
        source: Where to look, for terms that name none: a key of `sources.SOURCES`. Defaults to `openverse`.
        licences: Kinds of licence to keep, such as `cc0`, `by`, `by-sa`. Defaults to any, also unknown ones.
        allow: `HOST:PORT` of hosts of your own, see `web.Web`. Defaults to none.
        service: Address of the sample's service, for the source `sample`. Defaults to one that draws what is asked.
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
            work.journal.close()
    if found.catalog.empty and work.unfinished:
        raise RuntimeError(f"nothing was collected: {work.unfinished[0]['reason']}")
    if found.catalog.empty:
        why = f"all {len(found.rejected)} results were rejected, see {out / 'rejected.csv'}"
        raise InputError(f"no pictures: {why if len(found.rejected) else 'the search found none'}")
    return found


class _Collection:
    """One call of `collect`: what was found so far, and what became of it."""

    def __init__(self, out: Path, web: Web, sources: dict, licences: list):
        self.out, self.web, self.sources, self.licences = out, web, sources, licences
        file = out / catalogs.COLLECTED
        self.earlier = catalogs.load(file).to_dict("records") if file.exists() else []
        self.journal = Journal(out / ".collected.jsonl")
        self.found: list[tuple] = []  # (search term, candidate), in the order of the results: first come, first kept
        self.begun: dict[Future, str] = {}
        self.asked: set[str] = set()
        self.failed: dict[str, str] = {}  # reasons that need not hold at the next call
        self.unfinished: list[dict] = []

    def run(self, terms: pd.DataFrame, parts: Path, shown) -> None:
        """Search, and download meanwhile what is found."""
        tired = {}
        for term in terms.itertuples():
            before = len(self.found)
            try:
                if term.source in tired:
                    raise tired[term.source]
                for candidate in self._results(term):
                    self.found.append((term, candidate))
                    self._begin(term, candidate, parts / f"{len(self.found)}", shown)
            except FetchError as error:
                tired |= {term.source: error} if error.status == 429 else {}  # it has had enough of us for today
                self.unfinished.append({"label": term.label, "query": term.query, "reason": str(error)})
            shown.total += len(self.found) - before - term.limit
            self._settle([future for future in self.begun if future.done()])
        self._settle(as_completed(self.begun))

    def _results(self, term) -> Iterator[Candidate]:
        """Candidates of one search: from the journal, if a call that was cut short has finished it."""
        source, seen = self.sources[term.source], []
        key = json.dumps([term.source, term.query, int(term.limit), self.licences])
        if key in self.journal.search:
            yield from (Candidate(**row) for row in self.journal.search[key]["found"])
            return
        try:
            for candidate in source.search(term.query, int(term.limit)):
                seen.append(asdict(candidate))
                yield candidate
        except InputError:
            raise
        except UNKNOWN_FORM as error:
            raise FetchError(term.source, "answered in an unknown form", "try again later, or report it") from error
        if source.lasting:
            self.journal.add(search=key, found=seen)

    def _begin(self, term, candidate: Candidate, part: Path, shown) -> None:
        """Begin to download a candidate, unless it is not wanted, there already, or asked for."""
        name = candidate.name
        if self.licences and kind(candidate.licence) not in self.licences:
            self.failed[name] = f"licence {candidate.licence or 'unknown'} is not wanted"
        elif candidate.width * candidate.height > MOST_PIXELS:
            self.failed[name] = f"more than {MOST_PIXELS / 1e6:g} million pixels"
        elif not (name in self.asked or name in self.failed or name in self.journal.refused or self._there(name)):
            self.asked.add(name)
            robots = self.sources[term.source].robots
            future = self.web.start(candidate.url, part, lambda: self._keep(part, term.label, name), robots)
            self.begun[future] = name
            future.add_done_callback(lambda _: shown.update(1))
            return
        shown.update(1)

    def _there(self, name: str) -> dict | None:
        """What the journal says of a picture that is in its place."""
        kept = self.journal.kept.get(name)
        return kept if kept and (self.out / kept["label"] / kept["file"]).is_file() else None

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

    def _settle(self, futures: Iterable[Future]) -> None:
        """Note what became of downloads that have ended; any failure that is no refusal is raised."""
        for future in futures:
            name = self.begun.pop(future)
            try:
                future.result()
            except InputError as error:
                self.failed[name] = reason = getattr(error, "reason", str(error))
                if getattr(error, "lasting", True):
                    self.journal.add(refused=name, reason=reason)

    def write(self) -> Collected:
        """Write the tables of what is there."""
        rows = {row["path"]: row for row in self.earlier if (self.out / row["path"]).is_file()}
        rejected = {}
        for term, candidate in self.found:
            name, there = candidate.name, self._there(candidate.name)
            if name in self.failed or not there:
                refused = self.journal.refused.get(name, {"reason": "not downloaded yet"})
                rejected.setdefault((term.label, name), self.failed.get(name, refused["reason"]))
                continue
            path = f"{term.label}/{there['file']}"
            facts = {column: there[column] for column in ("sha256", "width", "height", "mode", "format", "retrieved")}
            origin = {column: getattr(candidate, column) for column in ("page", "title", "licence", "creator")}
            row = {"path": path, "label": term.label, **facts, "source_url": name, **origin, "split": term.split}
            first = rows.setdefault(path, row)["source_url"]
            if first != name:
                rejected.setdefault((term.label, name), f"the same picture as {first}")
            elif not (self.out / path).is_file():  # under a second label too: both keep it, and notebook 02 judges
                with replacing(self.out / path) as beside:
                    shutil.copyfile(self.out / there["label"] / there["file"], beside)
        refused = pd.DataFrame([(*key, reason) for key, reason in rejected.items()], columns=["label", "url", "reason"])
        with replacing(self.out / "rejected.csv") as beside:
            refused.to_csv(beside, index=False, lineterminator="\n")
        table = catalogs.blank(list(rows.values()), self.out) if rows else pd.DataFrame()
        if rows:
            catalogs.save(table, self.out / catalogs.COLLECTED)
            with replacing(self.out / "attribution.md") as beside:
                beside.write_text(attribution(table), encoding="utf-8")
        return Collected(table, refused, pd.DataFrame(self.unfinished, columns=["label", "query", "reason"]))
