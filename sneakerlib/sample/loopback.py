"""An image search on your own computer: serves the embedded sample, so that collecting needs no internet."""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sneakerlib import InputError
from sneakerlib.sample.dataset import make, truth
from sneakerlib.sample.drawing import MODELS

PAGE_SIZE = 20  # as Openverse serves without a key
ROMAN = [
    "I",
    "II",
    "III",
    "IV",
    "V",
    "VI",
    "VII",
    "VIII",
    "IX",
    "X",
    "XI",
    "XII",
    "XIII",
    "XIV",
    "XV",
    "XVI",
    "XVII",
    "XVIII",
    "XIX",
    "XX",
    "XXI",
    "XXII",
    "XXIII",
]


@contextmanager
def service_for(
    folder: str | Path, queries: Iterable[str], per_class: int = 80, progress: bool = True
) -> Iterator[str]:
    """Draw what these queries ask for into a hidden sub-folder, and serve it; yields the service's address.

    Args:
        folder: Gets the sub-folder, which is used again by the next call that asks for the same.
        queries: Each names a model, or says its number as in "Air Jordan 3" or "Jordan III".
        per_class: Pictures per model, 12 at the least. Defaults to 80.
        progress: Show a bar. Defaults to True.

    Raises:
        InputError: If a query names no model of the sample.
    """
    numbers = {query: _number(query) for query in queries}
    if unknown := [query for query, number in numbers.items() if not number]:
        raise InputError(f"the sample has no {unknown[0]!r}: ask for {MODELS[0].name}, {MODELS[1].name}, … or a number")
    classes, per_class = max(2, *numbers.values()), max(12, per_class)
    drawn = Path(folder) / f".sample-{classes}x{per_class}"
    make(drawn, classes, per_class, progress=progress)
    with search_service(drawn) as service:
        yield service


def _number(query: str) -> int:
    """Which model a query asks for, from 1; 0 if none."""
    names = [model.name for model in MODELS]
    for word in query.split():
        number = (names.index(word) if word in names else ROMAN.index(word) if word in ROMAN else -1) + 1
        number = int(word) if word.isdecimal() else number
        if 1 <= number <= len(names):
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
            if url.path == "/search":
                query = parse_qs(url.query)
                number = _number(query.get("q", [""])[0])
                found = table.index[table.label.eq(MODELS[number - 1].name if number else "")]
                page = int(query.get("page", ["1"])[0])
                results = [
                    {
                        "id": f"sample-{number}",
                        "url": f"http://{self.headers['Host']}/pictures/{number}",
                        "title": f"{table.label[number]}, photographed by nobody",
                        "licence": "cc0",
                        "creator": "sneakerlib",
                    }
                    for number in map(int, found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE])
                ]
                body = json.dumps({"results": results, "page_count": -(-len(found) // PAGE_SIZE)}).encode()
                self._answer(200, "application/json", body)
            elif url.path.startswith("/pictures/") and url.path[10:].isdigit() and int(url.path[10:]) < len(table):
                self._answer(200, "image/jpeg", (Path(folder) / table.path[int(url.path[10:])]).read_bytes())
            else:
                self._answer(404, "text/plain", b"not here")

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
