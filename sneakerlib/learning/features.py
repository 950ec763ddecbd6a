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
from sneakerlib.learning.engine import Engine, engine, fingerprint
from sneakerlib.runs import cache_folder, watch

VERSION = 2  # of how a picture is brought to a size and put into a network; raise it when either changes
PORTION = 512  # pictures worked on before their features are written down: a kill loses no more
LONG = 4096  # numbers: longer vectors are kept in half precision, which takes half the disk and rounds by 0.05 %
SIZE = 224  # pixels: what ImageNet networks are trained at


def look(picture: str | Path | bytes | Image.Image, size: int, **how) -> np.ndarray:
    """A picture from anywhere as a network sees it: its standard form, as `image_dataset_from_directory` decodes it.

    The whole picture is squeezed into the square (`interpolation="area"`).

    Args:
        picture: A path, the bytes of a picture file, or a picture that has been opened.
        size: Height and width in pixels.
        how: `name` and `strange` of `pictures.standard`.

    Returns:
        Array of shape (size, size, 3), float32, 0 to 255.

    Raises:
        InputError: If it cannot be read as a picture.
    """
    import tensorflow as tf

    whole = tf.io.decode_image(pictures.standard(picture, **how), channels=3, expand_animations=False)
    return tf.image.resize(whole, (size, size), method="area").numpy()


def answers(run: Engine, size: int, sources: Iterable, progress: int = 0) -> Iterator[np.ndarray]:
    """What a network says of pictures (see `look`), in order; they are decoded on the same cores, a few hundred ahead.

    `progress` is how many there are, for a bar.
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
        rounds by 0.05 % at most. Empty both ways without pictures.

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
        said = (vector.astype(np.float16) if vector.size > LONG else vector for vector in said)
        while vectors := list(itertools.islice(said, PORTION)):
            store.put(new.sha256[: len(vectors)], vectors)
            new = new.iloc[len(vectors) :]
    return store.get(catalog.sha256)


class Store:
    """What a network of some name says of pictures, in one file that several programs may use at a time."""

    def __init__(self, file: Path, network: str):
        self.file, self.network = file, network

    def keys(self) -> set[str]:
        """What is known."""
        with self._open() as opened:
            return {key for (key,) in opened.execute("SELECT key FROM vectors WHERE network = ?", (self.network,))}

    def get(self, keys: Iterable[str]) -> np.ndarray:
        """The vectors of these keys, one row each; every one must be known."""
        keys, found = list(keys), np.zeros((0, 0), np.float32)
        with self._open() as opened:
            for at, key in enumerate(keys):
                query = "SELECT half, content FROM vectors WHERE network = ? AND key = ?"
                half, content = opened.execute(query, (self.network, key)).fetchone()
                vector = np.frombuffer(content, np.float16 if half else np.float32)
                found = found if at else np.empty((len(keys), len(vector)), vector.dtype)
                found[at] = vector
        return found

    def put(self, keys: Iterable[str], vectors: Iterable[np.ndarray]) -> None:
        """Remember these vectors, float16 or float32, all or none."""
        said = zip(keys, vectors, strict=True)
        rows = ((self.network, key, int(vector.dtype == np.float16), vector.tobytes()) for key, vector in said)
        with self._open() as opened:
            opened.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.file, timeout=60)) as opened, opened:
            columns = "network TEXT, key TEXT, half INT, content BLOB, PRIMARY KEY (network, key)"
            opened.execute(f"CREATE TABLE IF NOT EXISTS vectors ({columns})")
            yield opened
