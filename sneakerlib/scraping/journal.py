"""What a collection remembers when it is killed: a file that only ever grows by whole lines."""

import contextlib
import json
import threading
from pathlib import Path

from sneakerlib.runs import replacing


class Journal:
    """One line per picture kept or refused for good, and per search that an unfinished call has done."""

    def __init__(self, file: Path):
        self.file, self.lock = file, threading.Lock()
        self.kept, self.refused, self.search = {}, {}, {}  # entries by what their first word names
        content = file.read_bytes() if file.exists() else b""
        if content and not content.endswith(b"\n"):
            self._append("\n")  # or the next line would be lost with the torn one
        for line in content.splitlines():
            with contextlib.suppress(ValueError):  # torn by a kill
                self._learn(json.loads(line))

    def add(self, **entry) -> None:
        """Note an entry, which begins with `kept`, `refused` or `search`."""
        with self.lock:
            self._learn(entry)
            self._append(json.dumps(entry, ensure_ascii=False) + "\n")

    def _learn(self, entry: dict) -> None:
        first = next(iter(entry))
        getattr(self, first)[entry[first]] = entry

    def _append(self, line: str) -> None:
        """In one write, so that a kill tears the last line at most."""
        with self.file.open("ab", buffering=0) as opened:
            opened.write(line.encode())

    def close(self) -> None:
        """Forget the searches: the next call is to find what is new."""
        entries = [*self.kept.values(), *self.refused.values()]
        with replacing(self.file) as beside:
            beside.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), "utf-8")
