"""What a collection remembers when it is killed: a file that only ever grows by whole lines."""

import json
import os
import threading
from pathlib import Path

from sneakerlib.runs import replacing


class Journal:
    """One line per picture kept or refused for good, and per search that an unfinished call has done.

    Args:
        file: Where it is, or will be.
    """

    def __init__(self, file: Path):
        self.file, self.lock = file, threading.Lock()
        self.kept: dict[str, dict] = {}
        self.refused: dict[str, str] = {}
        self.searches: dict[str, list] = {}
        content = file.read_bytes() if file.exists() else b""
        if content and not content.endswith(b"\n"):
            self._append(b"\n")  # or the next line would be lost with the torn one
        for line in content.splitlines():
            try:
                self._learn(json.loads(line))
            except ValueError:  # torn by a kill
                continue

    def add(self, **entry) -> None:
        """Append a line in one write, so that a kill tears the last one at most."""
        with self.lock:
            self._learn(entry)
            self._append((json.dumps(entry, ensure_ascii=False) + "\n").encode())

    def _append(self, line: bytes) -> None:
        file = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(file, line)
        os.close(file)

    def _learn(self, entry: dict) -> None:
        if "kept" in entry:
            self.kept[entry["kept"]] = entry
        elif "refused" in entry:
            self.refused[entry["refused"]] = entry["reason"]
        else:
            self.searches[entry["search"]] = entry["found"]

    def close(self) -> None:
        """Forget the searches: the next call is to find what is new."""
        refused = [{"refused": name, "reason": reason} for name, reason in self.refused.items()]
        with replacing(self.file) as beside:
            lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in [*self.kept.values(), *refused]]
            beside.write_text("".join(lines), encoding="utf-8")
