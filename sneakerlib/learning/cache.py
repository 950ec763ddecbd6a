"""What need not be worked out twice: results kept by what they were worked out from."""

import copy
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np

ASKED = 500  # keys in one query: SQLite takes 999 everywhere


class Store:
    """What networks say of pictures, in one file that several programs may use at a time.

    Args:
        file: Where; made when something is first put into it.
        network: Whose vectors are meant.
    """

    def __init__(self, file: str | Path, network: str):
        self.file, self.network = Path(file), network

    def keys(self) -> set[str]:
        """What is known."""
        if not self.file.exists():
            return set()
        with closing(self._open()) as opened:
            return {key for (key,) in opened.execute("SELECT key FROM vectors WHERE network = ?", (self.network,))}

    def get(self, keys: Iterable[str]) -> np.ndarray:
        """The vectors of these keys, one row each; every one must be known."""
        keys, found = [str(key) for key in keys], {}
        with closing(self._open()) as opened:
            for start in range(0, len(keys), ASKED):
                some = keys[start : start + ASKED]
                marks = ", ".join("?" * len(some))
                query = f"SELECT key, half, content FROM vectors WHERE network = ? AND key IN ({marks})"
                found |= {
                    key: np.frombuffer(content, np.float16 if half else np.float32)
                    for key, half, content in opened.execute(query, (self.network, *some))
                }
        return np.stack([found[key] for key in keys])

    def put(self, keys: Iterable[str], vectors: np.ndarray) -> None:
        """Remember these vectors, float16 or float32, all or none."""
        half = int(vectors.dtype == np.float16)
        rows = [(self.network, key, half, vector.tobytes()) for key, vector in zip(keys, vectors, strict=True)]
        with closing(self._open()) as opened, opened:
            opened.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        opened = sqlite3.connect(self.file, timeout=60)
        columns = "network TEXT, key TEXT, half INT, content BLOB, PRIMARY KEY (network, key)"
        opened.execute(f"CREATE TABLE IF NOT EXISTS vectors ({columns})")
        return opened


class Vectors:
    """Vectors of pictures that stay in their file: rows are chosen as in an array, and read by `np.asarray`.

    Args:
        store: Where they are.
        keys: Whose vectors, in which order; every one must be known.
    """

    def __init__(self, store: Store, keys: Iterable[str]):
        self.store, self.keys = store, np.array(list(keys))
        self.shape = len(self.keys), store.get(self.keys[:1]).shape[1]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows) -> "Vectors":
        chosen = copy.copy(self)
        chosen.keys = self.keys[rows]
        chosen.shape = len(chosen.keys), self.shape[1]
        return chosen

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.store.get(self.keys).astype(dtype or np.float16) if len(self) else np.empty(self.shape, dtype)
