"""What need not be worked out twice: results kept by what they were worked out from."""

import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
import platformdirs

from sneakerlib.runs import replacing


def cache_folder() -> Path:
    """Where commands keep decoded pictures and measurements: $SNEAKERLIB_CACHE, or the user's cache folder."""
    return Path(os.environ.get("SNEAKERLIB_CACHE") or platformdirs.user_cache_dir("sneakerlib"))


class Remembered:
    """Dictionaries by key, in one file that several programs may use at a time.

    Args:
        file: Where; made when something is first put into it.
        version: Of what made the dictionaries; those of another version are not found.
    """

    def __init__(self, file: str | Path, version: int):
        self.file, self.version = Path(file), version

    def get(self, keys: Iterable[str]) -> dict[str, dict]:
        """What is known, by key."""
        wanted = set(keys)
        if not self.file.exists():
            return {}
        with closing(self._open()) as opened:
            rows = opened.execute("SELECT key, content FROM remembered WHERE version = ?", (self.version,))
            return {key: json.loads(content) for key, content in rows if key in wanted}

    def put(self, found: dict[str, dict]) -> None:
        """Remember these, all or none."""
        with closing(self._open()) as opened, opened:
            rows = [(key, self.version, json.dumps(content)) for key, content in found.items()]
            opened.executemany("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        opened = sqlite3.connect(self.file, timeout=60)
        opened.execute("CREATE TABLE IF NOT EXISTS remembered (key TEXT PRIMARY KEY, version INT, content TEXT)")
        return opened


class Vectors:
    """Arrays of numbers by key, in a folder that several programs may fill at a time: each file in it is final.

    Args:
        folder: Where; made when something is first put into it.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def keys(self) -> set[str]:
        """What is known."""
        return {key for file in self._files() for key in np.load(file)["keys"].tolist()}

    def get(self, keys: Iterable[str]) -> np.ndarray:
        """The vectors of these keys, one row each; every one must be known.

        They lie in a temporary file that is mapped into memory: a million vectors need not fit into it.
        """
        keys, found = np.array(list(keys)), None
        for file in self._files():
            with np.load(file) as opened:
                known, vectors = opened["keys"], opened["vectors"]
            order = np.argsort(known)
            at = np.searchsorted(known, keys, sorter=order) % len(known)
            wanted = np.flatnonzero(known[order[at]] == keys)
            if found is None:
                shape = (len(keys), *vectors.shape[1:])
                found = np.memmap(tempfile.TemporaryFile(), vectors.dtype, "w+", shape=shape)  # noqa: SIM115
            found[wanted] = vectors[order[at[wanted]]]
        return found

    def put(self, keys: Iterable[str], vectors: np.ndarray) -> None:
        """Remember an array (keys, ...), all or nothing."""
        keys = np.array(list(keys))
        with replacing(self.folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:16]}.npz") as beside:
            np.savez(beside, keys=keys, vectors=vectors)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.npz"))
