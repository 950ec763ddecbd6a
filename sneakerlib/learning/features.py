"""What a network says of pictures, kept by their content: every picture is described once per network."""

import contextlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib import pictures
from sneakerlib.learning.engine import Keras, LiteRT, engine, fingerprint
from sneakerlib.runs import cache_folder, watch

VERSION = 2  # of how a picture is brought to a size and put into a network; raise it when either changes
PORTION = 512  # pictures worked on before their features are written down: a kill loses no more
LONG = 4096  # numbers: longer vectors are kept in half precision, which takes half the disk and rounds by 0.05 %
SIZE = 224  # pixels: what ImageNet networks are trained at
ASKED = 500  # keys in one query: SQLite takes 999 everywhere


def decoded(content: Any, size: int):
    """A JPEG as the data set gives it to a network: `image_dataset_from_directory(..., interpolation="area")`.

    Args:
        content: Its bytes, or a tensor of them.
        size: Height and width in pixels; None leaves the picture as large as it is.

    Returns:
        Tensor of shape (size, size, 3), float32, 0 to 255. The whole picture is squeezed into the square.
    """
    import tensorflow as tf

    picture = tf.io.decode_image(content, channels=3, expand_animations=False)
    return tf.image.resize(picture, (size, size), method="area")


def look(picture: str | Path | bytes | Image.Image, size: int, **how) -> np.ndarray:
    """A picture from anywhere as a network sees it: its standard form, decoded as the data set decodes it.

    Args:
        picture: A path, the bytes of a picture file, or a picture that has been opened.
        size: Height and width in pixels.
        how: `name` and `strange` of `pictures.standard`.

    Returns:
        Array of shape (size, size, 3), float32, 0 to 255.

    Raises:
        InputError: If it cannot be read as a picture.
    """
    return decoded(pictures.standard(picture, **how), size).numpy()


def answers(run: LiteRT | Keras, size: int, sources: Iterable, progress: int = 0) -> Iterator[np.ndarray]:
    """What a network says of pictures, in order; they are decoded on the same cores, a few hundred ahead.

    Args:
        run: From `engine`.
        size: Height and width in pixels that the network sees.
        sources: Pictures, as for `look`.
        progress: How many there are, for a bar. Defaults to none.
    """

    def portions():
        remaining = iter(sources)
        while portion := list(itertools.islice(remaining, PORTION)):
            yield from pool.map(lambda source: run(look(source, size)), portion)

    with pictures.quietly(), ThreadPoolExecutor(run.lanes) as pool:
        yield from watch(portions(), progress, "looking at pictures", progress > 0)


def features(
    catalog: pd.DataFrame,
    network: Any = "efficientnet-lite0",
    size: int = SIZE,
    cache: str | Path | None = None,
    progress: bool = True,
) -> np.ndarray:
    """What a network says of every picture, computed once per content and network.

    Args:
        catalog: Rows of pictures that can be read.
        network: A backbone's name (see `backbones.backbone`), which is not even built if all is known, or a Keras model
            that gives one vector per picture. Defaults to `efficientnet-lite0`.
        size: Height and width in pixels that a named backbone sees. Defaults to 224.
        cache: Folder of what is known. Defaults to the user's cache folder.
        progress: Show a bar. Defaults to True.

    Returns:
        Array of shape (pictures, channels), in the order of the catalog: float32; float16 beyond 4,096 channels, which
        rounds by 0.05 % at most. Without pictures it is empty both ways.

    Raises:
        InputError: If the backbone is unknown, or a picture cannot be read.
    """
    named, folder = isinstance(network, str), pictures.folder_of(catalog)
    size = size if named else network.input_shape[1]
    own = f"{network.lower()}-{size}" if named else f"{network.name}-{fingerprint(network)}"
    store = Store(Path(cache or cache_folder()) / "features.sqlite", f"{own}-v{VERSION}")
    new = catalog[~catalog.sha256.isin(store.keys()) & ~catalog.sha256.duplicated()]
    if len(new):
        if named:
            from sneakerlib.learning.backbones import backbone  # late: it loads Keras, and all may be known

            network = backbone(network, size)
        run = engine(network, cache)
        said = answers(run, size, (folder / path for path in new.path), len(new) if progress else 0)
        while vectors := list(itertools.islice(said, PORTION)):
            kept = np.float16 if vectors[0].size > LONG else np.float32
            store.put(new.sha256[: len(vectors)], np.stack(vectors).astype(kept))
            new = new.iloc[len(vectors) :]
    return store.get(catalog.sha256)


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
        with self._open() as opened:
            return {key for (key,) in opened.execute("SELECT key FROM vectors WHERE network = ?", (self.network,))}

    def get(self, keys: Iterable[str]) -> np.ndarray:
        """The vectors of these keys, one row each; every one must be known."""
        keys, found = list(keys), np.zeros((0, 0), np.float32)
        with self._open() as opened:
            for start in range(0, len(keys), ASKED):
                some = keys[start : start + ASKED]
                marks = ", ".join("?" * len(some))
                query = f"SELECT key, half, content FROM vectors WHERE network = ? AND key IN ({marks})"
                rows = {key: (half, content) for key, half, content in opened.execute(query, (self.network, *some))}
                for at, key in enumerate(some, start):
                    half, content = rows[key]
                    vector = np.frombuffer(content, np.float16 if half else np.float32)
                    found = found if len(found) else np.empty((len(keys), len(vector)), vector.dtype)
                    found[at] = vector
        return found

    def put(self, keys: Iterable[str], vectors: np.ndarray) -> None:
        """Remember these vectors, float16 or float32, all or none."""
        half = int(vectors.dtype == np.float16)
        rows = [(self.network, key, half, vector.tobytes()) for key, vector in zip(keys, vectors, strict=True)]
        with self._open() as opened:
            opened.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.file, timeout=60)) as opened, opened:
            columns = "network TEXT, key TEXT, half INT, content BLOB, PRIMARY KEY (network, key)"
            opened.execute(f"CREATE TABLE IF NOT EXISTS vectors ({columns})")
            yield opened
