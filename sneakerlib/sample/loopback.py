"""An image search on your own computer: serves the embedded sample, so that collecting needs no internet."""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sneakerlib import InputError
from sneakerlib.sample.dataset import PER_CLASS, make, truth
from sneakerlib.sample.drawing import MODELS

PAGE_SIZE = 20  # as Openverse serves without a key
NAMES = [model.name for model in MODELS]
ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
ROMAN = [tens + ones for tens in ("", "X", "XX") for ones in ONES]


@contextmanager
def service_for(
    folder: str | Path, queries: Iterable[str], per_class: int = PER_CLASS, progress: bool = True
) -> Iterator[str]:
    """Draw what these queries ask for into a hidden sub-folder, and serve it; yields the service's address.

    Args:
        folder: Gets the sub-folder, which is used again by the next call that asks for the same.
        queries: Each names a model, or says its number as in "Air Jordan 3" or "Jordan III".
        per_class: Pictures per model, 12 at the least. Defaults to 160.
        progress: Show a bar. Defaults to True.

    Raises:
        InputError: If a query names no model of the sample.
    """
    numbers = {query: _number(query) for query in queries}
    if unknown := [query for query, number in numbers.items() if not number]:
        raise InputError(f"the sample has no {unknown[0]!r}: ask for {NAMES[0]}, {NAMES[1]}, … or a number")
    classes, per_class = max(2, *numbers.values()), max(12, per_class)
    drawn = Path(folder) / f".sample-{classes}x{per_class}"
    make(drawn, classes, per_class, progress=progress)
    with search_service(drawn) as service:
        yield service


def _number(query: str) -> int:
    """Which model a query asks for, from 1; 0 if none."""
    for word in query.split():
        number = int(word) if word.isdecimal() else ROMAN.index(word) if word in ROMAN else 0
        number = NAMES.index(word) + 1 if word in NAMES else number
        if 1 <= number <= len(NAMES):
            return number
    return 0


@contextmanager
def search_service(folder: str | Path) -> Iterator[str]:
    """Serve a sample on the loopback address as an image search would; yields the service's address.

    `GET /search?q=QUERY&page=N` answers {"results": [{"id", "url", "title", "licence", "creator"}, …],
    "page_count"}, where the query is a model's name or says its number, as in "Air Jordan 3";
    `GET /pictures/NUMBER` answers the file's bytes.
    """
    table = truth(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # so that connections are kept, as real services do
        wbufsize = -1  # head and body in one packet: in two, the second waits 40 ms for the first one's receipt

        def do_GET(self):
            url = urlsplit(self.path)
            asked = url.path.removeprefix("/pictures/")
            if url.path == "/search":
                self._answer(200, "application/json", json.dumps(self._found(parse_qs(url.query))).encode())
            elif asked.isdigit() and int(asked) < len(table):
                self._answer(200, "image/jpeg", (Path(folder) / table.path[int(asked)]).read_bytes())
            else:
                self._answer(404, "text/plain", b"not here")

        def _found(self, query: dict) -> dict:
            number, page = _number(query.get("q", [""])[0]), int(query.get("page", ["1"])[0])
            rows = table[table.label.eq(NAMES[number - 1] if number else "")]
            shown, results = rows.label[(page - 1) * PAGE_SIZE : page * PAGE_SIZE], []
            for at, label in shown.items():
                found = {"id": f"sample-{at}", "url": f"http://{self.headers['Host']}/pictures/{at}"}
                about = {"title": f"{label}, photographed by nobody", "licence": "cc0", "creator": "sneakerlib"}
                results.append(found | about)
            return {"results": results, "page_count": -(-len(rows) // PAGE_SIZE)}

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass  # a line per request would bury the notebook's own output

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
