"""Collect pictures over HTTP: ask a search service, download what it names, keep where each picture came from."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import requests
from PIL import Image

from sneakerlib import InputError
from sneakerlib import catalog as catalogs
from sneakerlib.progress import watch
from sneakerlib.runs import replacing

TIMEOUT = (5, 20)  # seconds to connect, seconds between two pieces of an answer
MOST_BYTES = 20_000_000  # of one picture: more than any camera's JPEG, less than would fill a disk
DOWNLOADS = 8  # at the same time, of one host


def fetch(url: str) -> bytes:
    """Download one file.

    Raises:
        InputError: If the server cannot be reached, refuses, or sends more than `MOST_BYTES`.
    """
    try:
        with requests.get(url, timeout=TIMEOUT, stream=True, headers={"User-Agent": "sneakerlib"}) as answer:
            answer.raise_for_status()
            content = io.BytesIO()
            for piece in answer.iter_content(65536):
                content.write(piece)
                if content.tell() > MOST_BYTES:
                    raise InputError(f"{url} is larger than {MOST_BYTES // 1_000_000} MB: use a smaller picture")
            return content.getvalue()
    except requests.HTTPError as error:
        raise InputError(f"{url} answered {error.response.status_code}: check the address") from error
    except requests.RequestException as error:
        raise InputError(
            f"{url} cannot be downloaded ({type(error).__name__}): check the address and the network"
        ) from error


def search(service: str, query: str, limit: int) -> Iterator[dict]:
    """Ask a paged search service: yields id, url, title, licence and creator of each picture.

    Args:
        service: Address of the service, for example what `sample.search_service` yields.
        query: What to look for.
        limit: Results at the most.
    """
    page, found = 1, 0
    while True:
        answer = requests.get(f"{service}/search", params={"q": query, "page": page}, timeout=TIMEOUT)
        answer.raise_for_status()
        content = answer.json()
        for result in content["results"]:
            if found == limit:
                return
            found += 1
            yield result
        if page >= content["page_count"]:
            return
        page += 1


def collect(
    service: str, terms: pd.DataFrame, out: str | Path, progress: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Search and download.

    Args:
        service: Address of the search service.
        terms: What to look for: columns label, query, limit (pictures at the most).
        out: Picture folder; gets one sub-folder per label. Files are named by their content, so that nothing is
            stored twice and a name never comes from a server.
        progress: Show a bar. Defaults to True.

    Returns:
        The catalog of what was found, and a table of what was refused: label, url, reason.
    """
    out = Path(out)
    jobs = [(term.label, result) for term in terms.itertuples() for result in search(service, term.query, term.limit)]
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        answers = pool.map(lambda job: _store(job, out), jobs)
        rows = list(watch(answers, len(jobs), "downloading", progress))
    refused = pd.DataFrame([row for row in rows if "reason" in row], columns=["label", "url", "reason"])
    kept = {row["path"]: row for row in rows[::-1] if "reason" not in row}  # of two identical results, the first
    if not kept:
        raise InputError("the search found no pictures: check the search terms")
    return catalogs.validate(catalogs.blank(list(kept.values()), out), str(out)), refused


def _store(job: tuple[str, dict], out: Path) -> dict:
    label, result = job
    try:
        content = fetch(result["url"])
    except InputError as error:
        return {"label": label, "url": result["url"], "reason": str(error)}
    file = out / label / (hashlib.sha256(content).hexdigest()[:16] + _extension(content))
    if not file.exists():
        with replacing(file) as beside:
            beside.write_bytes(content)
    found = {"source_url": result["id"], "licence": result["licence"], "creator": result["creator"]}
    return catalogs.facts(file, out) | found


def _extension(content: bytes) -> str:
    """The extension that the content deserves; none if it is no picture (notebook 02 deals with those)."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return {"JPEG": ".jpg"}.get(image.format, f".{image.format.lower()}")
    except Exception:  # Pillow's readers raise whatever a damaged header leads them to
        return ""
